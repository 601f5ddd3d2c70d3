package traffic

import (
	"math"
	"time"
)

// lift is an amount of harm that a suspicion bets on: by is how much higher the rate of an outcome has become. An outage of
// a second or two must not decide a cross-fade, so a bet wins at most burst at once and perSecond in the long run, as
// logarithms.
//
// part is the bet's part of the wealth. The parts of a list sum up to 1. Small harm has a larger part, because its proof
// needs the most requests.
type lift struct{ by, burst, perSecond, part float64 }

var (
	harmLifts = []lift{{0.003, 2, 1, .5}, {0.012, 2, 1, .3}, {0.05, 2, 1, .12}, {0.2, 2, 1, .08}}
	// grossLifts are gross harm, which is detected in a few seconds.
	grossLifts = []lift{{0.25, 3, 3, .5}, {0.6, 3, 3, .5}}
)

// suspicion is the evidence that the rate of an outcome has become higher by more than a tolerance. It is the wealth of a
// bettor who bets on that at fair odds. If the rate is not higher, the wealth ever reaches 1/α with a probability of at
// most α (Ville's inequality), however often it is checked.
//
// Most of the wealth is bet from the first request on, divided between the lifts. The rest is a reserve that is staked
// gradually: if a release becomes bad after hours, these bets have not been lost in the good hours before.
type suspicion struct {
	Stakes []float64     `json:"stakes"` // logarithms, one a lift
	Limits []float64     `json:"limits"` // the most that each may win now
	Age    time.Duration `json:"age"`
}

func newSuspicion(lifts []lift) suspicion {
	s := suspicion{Stakes: make([]float64, len(lifts)), Limits: make([]float64, len(lifts))}
	for i, l := range lifts {
		s.Stakes[i], s.Limits[i] = math.Log((1-reserve)*l.part), l.burst
	}
	return s
}

// add bets on a block of counts of duration took. old is the old release's rate, estimated before the block.
func (s *suspicion) add(lifts []lift, p pair, old, tolerance float64, took time.Duration) {
	s.bet(lifts, took, func(l lift) float64 {
		at := rates{clamp(old), min(clamp(old+tolerance+l.by), 0.98)}
		if at.new <= at.old+tolerance {
			return 0 // the rate can't become that much higher
		}
		return p.logRatio(at, p.nearest(at, tolerance))
	})
}

// bet stakes some of the reserve and then adds to each stake what its bet has won. Both are logarithms.
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
const reserve = 0.15

// staked returns how much of the reserve has been staked at an age: half of it in the first hour, then less and less,
// never all of it.
func staked(age time.Duration) float64 {
	h := age.Hours()
	return reserve * h / (h + 1)
}

// log returns the logarithm of the wealth.
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
