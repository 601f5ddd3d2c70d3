package traffic

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// A bet is fair against every pair of rates on the far side of the line, whatever the sizes of the block: what it
// multiplies the stake by is at most 1 on average. Everything that is promised of verdicts stands on this.
func TestBetsAreFair(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		probability := rapid.Float64Range(0.0005, 0.9995)
		p := pair{oldN: float64(rapid.IntRange(1, 500).Draw(r, "old")), newN: float64(rapid.IntRange(1, 500).Draw(r, "new"))}
		gap := rapid.Float64Range(0, 0.5).Draw(r, "gap")
		at := rates{probability.Draw(r, "old rate"), probability.Draw(r, "new rate")}
		if at.new <= at.old+gap || at.old+gap >= 1-2*tiny {
			r.Skip()
		}
		than := p.nearest(at, gap)
		truth := rates{probability.Draw(r, "true old"), probability.Draw(r, "true new")}
		if truth.new > truth.old+gap {
			truth.new = max(0, min(1, truth.old+gap)) // the hardest case
		}
		// The mean of the ratio of one request is linear in its true rate.
		mean := func(n, p, at, than float64) float64 { return n * math.Log(p*at/than+(1-p)*(1-at)/(1-than)) }
		if m := mean(p.oldN, truth.old, at.old, than.old) + mean(p.newN, truth.new, at.new, than.new); m > 1e-6 {
			r.Errorf("the bet wins exp(%g) on average at %+v, nearest %+v", m, truth, than)
		}
	})
}

// The same for a ceiling's bets, which are against a difference of gap or more.
func TestCeilingsAreFair(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		probability := rapid.Float64Range(0.0005, 0.9995)
		p := pair{oldN: float64(rapid.IntRange(1, 500).Draw(r, "old")), newN: float64(rapid.IntRange(1, 500).Draw(r, "new"))}
		gap := rapid.SampledFrom(gaps[:]).Draw(r, "gap")
		at := rates{probability.Draw(r, "old rate"), probability.Draw(r, "new rate")}
		truth := rates{probability.Draw(r, "true old"), 0}
		truth.new = truth.old + gap
		if at.new >= at.old+gap || truth.new > 1 {
			r.Skip()
		}
		than := p.nearest(at, gap)
		mean := func(n, p, at, than float64) float64 { return n * math.Log(p*at/than+(1-p)*(1-at)/(1-than)) }
		if m := mean(p.oldN, truth.old, at.old, than.old) + mean(p.newN, truth.new, at.new, than.new); m > 1e-6 {
			r.Errorf("the bet wins exp(%g) on average at %+v, nearest %+v", m, truth, than)
		}
	})
}

// The bet on a shift of all answers is fair where the new release is stochastically no slower, whatever the
// distribution is.
func TestShiftsAreFair(t *testing.T) {
	distribution := func(r *rapid.T, name string) (p [len(quantiles) + 1]float64) {
		sum := 0.0
		for i := range p {
			p[i] = rapid.Float64Range(0.001, 1).Draw(r, name)
			sum += p[i]
		}
		for i := range p {
			p[i] /= sum
		}
		return p
	}
	rapid.Check(t, func(r *rapid.T) {
		usual, old := distribution(r, "usual"), distribution(r, "old")
		fresh := old
		for range rapid.IntRange(0, 5).Draw(r, "moves") { // towards shorter answers
			from := rapid.IntRange(1, len(fresh)-1).Draw(r, "from")
			to := rapid.IntRange(0, from-1).Draw(r, "to")
			some := fresh[from] * rapid.Float64Range(0, 1).Draw(r, "part")
			fresh[from], fresh[to] = fresh[from]-some, fresh[to]+some
		}
		n, m := rapid.IntRange(1, 200).Draw(r, "old requests"), rapid.IntRange(1, 200).Draw(r, "new requests")
		tilt := rapid.SampledFrom(tilts).Draw(r, "tilt").by
		// The ratio of one request of each release in a block of n and m.
		one := func(i int, isNew bool) float64 {
			var s spectrum
			s.old[0], s.new[0] = float64(n), float64(m)
			base := s.shifted(usual, tilt)
			if isNew {
				s.new[0]--
				s.new[i]++
			} else {
				s.old[0]--
				s.old[i]++
			}
			return s.shifted(usual, tilt) - base
		}
		var s spectrum
		s.old[0], s.new[0] = float64(n), float64(m)
		base := s.shifted(usual, tilt) // of n and m requests in the first bin
		meanOld, meanNew := 0.0, 0.0
		for i := range old {
			meanOld += old[i] * math.Exp(one(i, false))
			meanNew += fresh[i] * math.Exp(one(i, true))
		}
		if mean := base + float64(n)*math.Log(meanOld) + float64(m)*math.Log(meanNew); mean > 1e-6 {
			r.Errorf("the bet wins exp(%g) on average", mean)
		}
	})
}
