package traffic

import (
	"math"
	"time"
)

// lift is a harm that a suspicion bets on: how much likelier an outcome has become. An outage of a second or two must
// not decide, so what one moment can prove is limited: a bet wins at most burst at once and perSecond in
// the long run, as logarithms.
//
// part is the part of the wealth that the bet has. The parts of a list sum up to 1; a small harm has more, since
// proving it takes most requests.
type lift struct{ by, burst, perSecond, part float64 }

var (
	harmLifts = []lift{{0.003, 3, 1, .4}, {0.012, 3, 1, .3}, {0.05, 3, 1, .15}, {0.2, 3, 1, .15}}
	// grossLifts are harm that nobody can bear: it is found in a few seconds.
	grossLifts = []lift{{0.25, 4, 3, .5}, {0.6, 4, 3, .5}}
)

// suspicion is the evidence that an outcome has become likelier by more than a tolerance. Its wealth is that of
// somebody who bets on it at fair odds: if it is not so, wealth ever reaches 1/α with a probability of at
// most α (Ville's inequality), whatever is looked at and whenever.
//
// Most of the wealth is bet from the first request on, divided between the lifts. The rest is a reserve that is
// staked little by little, so that a release that turns bad after hours is found by a bet that has not
// been lost in the good time before.
type suspicion struct {
	Stakes []float64     `json:"stakes"` // logarithms, one a lift
	Limits []float64     `json:"limits"` // what each may win now
	Age    time.Duration `json:"age"`
}

func newSuspicion(lifts []lift) suspicion {
	s := suspicion{Stakes: make([]float64, len(lifts)), Limits: make([]float64, len(lifts))}
	for i, l := range lifts {
		s.Stakes[i], s.Limits[i] = math.Log((1-reserve)*l.part), l.burst
	}
	return s
}

// add bets on a block of counts that took so long. old is what was known of the old release's rate before.
func (s *suspicion) add(lifts []lift, p pair, old, tolerance float64, took time.Duration) {
	s.bet(lifts, took, func(l lift) float64 {
		at := rates{clamp(old), min(clamp(old+tolerance+l.by), 0.98)}
		if at.new <= at.old+tolerance {
			return 0 // nothing worse is possible
		}
		return p.logRatio(at, p.nearest(at, tolerance))
	})
}

// bet stakes some of the reserve, and then multiplies each stake by what its bet has won, a logarithm.
func (s *suspicion) bet(lifts []lift, took time.Duration, won func(lift) float64) {
	fresh := staked(s.Age+took) - staked(s.Age)
	s.Age += took
	seconds := took.Seconds()
	for i, l := range lifts {
		limit := min(s.Limits[i]+l.perSecond*seconds, l.burst+l.perSecond*min(seconds, 1))
		gain := min(won(l), limit)
		s.Limits[i] = min(limit-max(gain, 0), l.burst)
		s.Stakes[i] = logAdd(s.Stakes[i], math.Log(fresh*l.part)) + gain
	}
}

// reserve is the part of the wealth that is not staked at the start.
const reserve = 0.25

// staked is how much of the reserve has been staked by an age: half of it in the first hour, then less and
// less, and never all.
func staked(age time.Duration) float64 {
	h := age.Hours()
	return reserve * h / (h + 1)
}

// log is the logarithm of the wealth.
func (s *suspicion) log() float64 {
	sum := math.Log(reserve - staked(s.Age))
	for _, x := range s.Stakes {
		sum = logAdd(sum, x)
	}
	return sum
}

func logAdd(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}
