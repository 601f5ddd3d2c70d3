package traffic

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// toss returns the meter of a made-up fade: each release counts what count returns for its requests of a second.
func toss(seed uint64, l Limit, share float64, seconds int, count func(rng *rand.Rand, n int, isNew bool) float64) *meter {
	rng := rand.New(rand.NewPCG(seed, 7))
	m := &meter{Limit: l, Harm: newSuspicion(meterLifts)}
	for range seconds / 5 {
		n := int(100 * share)
		m.add(measured{float64(100 - n), float64(n), count(rng, 100-n, false), count(rng, n, true), l.Spare * 5, 5 * time.Second})
	}
	return m
}

// events counts requests that cause an event.
func events(rng *rand.Rand, n int, p float64) (k float64) {
	for range n {
		if rng.Float64() < p {
			k++
		}
	}
	return k
}

// Releases that are alike are told apart in at most half of the tosses, so that the bet is fair: whatever is counted, and
// at whatever share.
func TestTossesAreFair(t *testing.T) {
	times := func(rng *rand.Rand, n int, _ bool) (sum float64) {
		for range n {
			sum += 5 * math.Exp(rng.NormFloat64()) // milliseconds, log-normal
		}
		return sum
	}
	rare := func(p float64) func(*rand.Rand, int, bool) float64 {
		return func(rng *rand.Rand, n int, _ bool) float64 { return events(rng, n, p) }
	}
	bursts := func(rng *rand.Rand, n int, _ bool) float64 {
		if rng.Float64() < .2 {
			return 30 * events(rng, n, .02) // a stack of lines
		}
		return 0
	}
	tight := logLimit
	tight.By = 0 // the hardest case
	for name, c := range map[string]struct {
		limit Limit
		count func(*rand.Rand, int, bool) float64
	}{
		"processor time": {cpuLimit, times}, "no margin": {tight, rare(.3)}, "rare lines": {tight, rare(.01)}, "bursts": {logLimit, bursts},
		"orders": {Limit{Guard: Metric("orders"), By: .05, Less: true}, rare(.1)}, "rare orders": {Limit{Guard: Metric("orders"), By: .01, Less: true}, rare(.02)},
	} {
		for _, share := range []float64{.1, .25, .5, .8} {
			worse, tosses, alarms := 0, 0, 0
			const runs = 100
			for seed := range uint64(runs) {
				m := toss(seed, c.limit, share, 1800, c.count)
				worse, tosses = worse+m.Worse, tosses+m.Tosses
				if m.Harm.log() > math.Log(1/DefaultAlpha) {
					alarms++
				}
			}
			chance := max(.5, share)
			if sd := math.Sqrt(.25 / float64(max(tosses, 1))); float64(worse)/float64(max(tosses, 1)) > chance+4*sd {
				t.Errorf("%s at %g: worse in %d of %d tosses", name, share, worse, tosses)
			}
			if alarms > 4 { // P(Binomial(100, 0.005) > 4) is 0.0002
				t.Errorf("%s at %g: %d of %d alarms", name, share, alarms, runs)
			}
		}
	}
}

// What is clearly worse is found in some minutes.
func TestMetersFindHarm(t *testing.T) {
	odds := math.Log(1 / DefaultAlpha / meterPart * 1.2) // beside all other comparisons
	for name, c := range map[string]struct {
		limit    Limit
		old, new float64
	}{
		"twice the processor time": {cpuLimit, 8, 16},
		"log lines, none before":   {logLimit, 0, .1},
		"a third of the orders":    {Limit{Guard: Metric("orders"), By: .05, Less: true}, .3, .1},
		"no orders":                {Limit{Guard: Metric("orders"), By: .05, Less: true}, .1, 0},
	} {
		for seed := range uint64(20) {
			m := toss(seed, c.limit, .25, 600, func(rng *rand.Rand, n int, isNew bool) float64 {
				rate := c.old
				if isNew {
					rate = c.new
				}
				if rate >= 1 {
					return float64(n) * rate * (1 + rng.NormFloat64()/10)
				}
				return events(rng, n, rate)
			})
			if m.Harm.log() < odds {
				t.Errorf("%s: evidence of %g after ten minutes: %s", name, m.Harm.log(), m.text())
			}
		}
	}
}

// Work that no request causes is no harm: an instance with few requests has as much of it as one with many.
func TestBackgroundWorkIsSpared(t *testing.T) {
	m := toss(1, cpuLimit, .1, 600, func(_ *rand.Rand, n int, _ bool) float64 { return float64(n)*2 + 5*8 }) // 8 ms a second
	if m.Worse > 0 {
		t.Error(m.text())
	}
}
