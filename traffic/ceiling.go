package traffic

import (
	"math"
	"sort"
)

// gaps are the differences between two rates that a ceiling can exclude.
var gaps = [...]float64{.001, .002, .003, .005, .0075, .01, .015, .02, .03, .05, .075, .1, .15, .2, .3, .4, .5, .6, .7, .8, .9}

// ceiling is an upper bound of the harm: of how much higher the new release's rate of an outcome may be than the old
// release's. For each gap it bets against "the new release's rate is higher by this gap or more".
type ceiling struct {
	Stakes [len(gaps)]float64 `json:"stakes"` // logarithms
	Least  int                `json:"least"`  // index of the smallest gap excluded; len(gaps) is none
}

func newCeiling() ceiling { return ceiling{Least: len(gaps)} }

// add bets on a block of counts. old and new are the rates that were expected before the block.
func (c *ceiling) add(p pair, old, new, alpha float64) {
	if p.oldN == 0 || p.newN == 0 {
		return
	}
	at := rates{clamp(old), clamp(new)}
	for i, gap := range gaps[:c.Least] {
		if at.new < at.old+gap { // otherwise the expected rates don't speak against this gap
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

// missing estimates how many more requests the new release must answer until harm above the margin is excluded, if it is
// as good as the old release. old is the old release's rate of the outcome.
func (c *ceiling) missing(margin, old, alpha float64) float64 {
	if c.bound() <= margin {
		return 0
	}
	i := sort.SearchFloat64s(gaps[:], margin+1e-12) - 1
	if i < 0 {
		return math.Inf(1) // the margin is smaller than the smallest gap
	}
	p := pair{oldN: 9, oldK: 9 * old, newN: 1, newK: old} // as at a share of 10 %
	at := rates{clamp(old), clamp(old)}
	won := p.logRatio(at, p.nearest(at, gaps[i]))
	return max(0, -math.Log(alpha)-c.Stakes[i]) / won
}

// proof returns which part of the evidence needed to exclude harm above the margin has been collected, from 0 to 1.
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

// bound returns the upper bound of the difference of the rates; 1 if nothing is excluded yet.
func (c *ceiling) bound() float64 {
	if c.Least == len(gaps) {
		return 1
	}
	return gaps[c.Least]
}
