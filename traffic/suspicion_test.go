package traffic

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The reserve is never staked more than once, however the time is cut into blocks.
func TestReserveIsStakedOnce(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := newSuspicion(harmLifts)
		for range rapid.IntRange(1, 200).Draw(r, "blocks") {
			s.bet(harmLifts, time.Duration(rapid.IntRange(1, 1e12).Draw(r, "took")), func(lift) float64 { return 0 })
		}
		if wealth := math.Exp(s.log()); math.Abs(wealth-1) > 1e-6 {
			r.Errorf("bets that win nothing leave %g of 1", wealth)
		}
	})
}

// What one moment can prove is limited, and a long harm is proven nevertheless.
func TestAMomentIsLimited(t *testing.T) {
	s := newSuspicion(harmLifts)
	all := pair{oldN: 1000, newN: 1000, newK: 1000}
	s.add(harmLifts, all, .001, 0, time.Second)
	if got := s.log(); got > 4 {
		t.Errorf("one second proves exp(%g)", got)
	}
	for range 10 {
		s.add(harmLifts, all, .001, 0, time.Second)
	}
	if got := s.log(); got < math.Log(1/DefaultAlpha) {
		t.Errorf("eleven seconds prove exp(%g) only", got)
	}
}

// A bet on harm that came after hours has the reserve's stake.
func TestLateHarmIsFound(t *testing.T) {
	s := newSuspicion(grossLifts)
	for range 5 * 3600 {
		s.add(grossLifts, pair{oldN: 40, newN: 10}, .001, grossTolerance, time.Second)
	}
	took := 0
	for ; s.log() < math.Log(1/DefaultAlpha/failPart) && took < 60; took++ {
		s.add(grossLifts, pair{oldN: 40, newN: 10, newK: 10}, .001, grossTolerance, time.Second)
	}
	t.Logf("found after %d s", took)
	if took > 10 {
		t.Errorf("all requests fail after five good hours, found after %d s, want 10", took)
	}
}

func TestCeilingFalls(t *testing.T) {
	c := newCeiling()
	last := c.bound()
	for range 3000 {
		c.add(pair{oldN: 9, newN: 1}, .001, .001, boundAlpha)
		if c.bound() > last {
			t.Fatalf("it rose from %g to %g", last, c.bound())
		}
		last = c.bound()
	}
	if last > .003 {
		t.Errorf("3000 good requests leave a bound of %g", last)
	}
}
