package traffic

import (
	"math"
	"sort"
)

// gaps are the differences of rates that a ceiling can exclude.
var gaps = [...]float64{.001, .002, .003, .005, .0075, .01, .015, .02, .03, .05, .075, .1, .15, .2, .3, .4, .5, .6, .7, .8, .9}

// ceiling is the largest harm that is still possible: an upper bound of how much likelier an outcome has become. For
// each gap it bets against "the new release's rate is higher by this gap or more".
type ceiling struct {
	Stakes [len(gaps)]float64 `json:"stakes"` // logarithms
	Least  int                `json:"least"`  // index of the smallest gap excluded; len(gaps) is none
}

func newCeiling() ceiling { return ceiling{Least: len(gaps)} }

// add bets on a block of counts. old and new are the rates expected before.
func (c *ceiling) add(p pair, old, new, alpha float64) {
	if p.oldN == 0 || p.newN == 0 {
		return
	}
	at := rates{clamp(old), clamp(new)}
	for i, gap := range gaps[:c.Least] {
		if at.new < at.old+gap { // else there is nothing to bet on
			c.Stakes[i] += p.logRatio(at, p.nearest(at, gap))
		}
	}
	limit := -math.Log(alpha)
	for c.Least > 0 && c.Stakes[c.Least-1] >= limit {
		c.Least--
	}
	for i := range c.Least {
		if c.Stakes[i] >= limit {
			c.Least = i
			break
		}
	}
}

// missing is about how many more requests the new release must answer, as well as the old one does, until harm above the
// margin is excluded. old is the old release's rate; for each request of the new release it has some of its own.
func (c *ceiling) missing(margin, old, alpha float64) float64 {
	if c.bound() <= margin {
		return 0
	}
	i := sort.SearchFloat64s(gaps[:], margin+1e-12) - 1
	if i < 0 {
		return math.Inf(1) // no ceiling is that low
	}
	p := pair{oldN: 9, oldK: 9 * old, newN: 1, newK: old}
	at := rates{clamp(old), clamp(old)}
	won := p.logRatio(at, p.nearest(at, gaps[i]))
	return max(0, -math.Log(alpha)-c.Stakes[i]) / won
}

// proof is how much of the evidence is there that excludes harm above the margin, from 0 to 1.
func (c *ceiling) proof(margin, alpha float64) float64 {
	if c.bound() <= margin {
		return 1
	}
	i := sort.SearchFloat64s(gaps[:], margin+1e-12) - 1
	if i < 0 {
		return 0
	}
	return min(max(c.Stakes[i]/-math.Log(alpha), 0), 1)
}

// bound is the upper bound of the difference, 1 where nothing is excluded.
func (c *ceiling) bound() float64 {
	if c.Least == len(gaps) {
		return 1
	}
	return gaps[c.Least]
}
