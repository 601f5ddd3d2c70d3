package traffic

import (
	"fmt"
	"math"
	"slices"
)

// harm is one comparison of a trial.
type harm struct {
	guard    Guard
	part     float64 // of alpha
	evidence float64 // logarithm of the suspicion's wealth
	text     string
}

// harms returns the comparisons that count in a cross-fade with these guards.
func (t *Trial) harms(guards []Guard) []harm {
	old, new := t.Totals.Old, t.Totals.New
	share := func(what string, a, b uint64) string {
		return fmt.Sprintf("%s of %d %s, before %s of %d", percent(float64(b), float64(new.Requests)), new.Requests, what,
			percent(float64(a), float64(old.Requests)), old.Requests)
	}
	failed := share("failed", old.Errors, new.Errors)
	all := []harm{
		{Errors, failPart, t.FailHarm.log(), failed},
		{Answers, classPart, t.ClassHarm[0].log(), share("answered with 3xx", old.Classes[3], new.Classes[3])},
		{Answers, classPart, t.ClassHarm[1].log(), share("answered with 4xx", old.Classes[4], new.Classes[4])},
		{Answers, sizePart, t.SizeHarm[0].log(), share("unusually short or long", old.Unusual, new.Unusual)},
		{Answers, sizePart, t.SizeHarm[1].log(), share("unusually short or long", old.Unusual, new.Unusual)},
		{Latency, latePart, t.LateHarm.log(), fmt.Sprintf("%d requests took longer than 99 %% of the old release's, or still take; %d of the old release did", new.Late, old.Late)},
	}
	if slices.Contains(guards, Errors) {
		all = append(all, harm{Errors, errorsPart, t.ErrorsHarm.log(), failed})
	}
	if slices.Contains(guards, Latency) && t.Times != nil {
		all = append(all,
			harm{Latency, shiftPart, t.ShiftHarm.log(), t.slowText()},
			harm{Latency, tailPart, t.TailHarm.log(), t.slowText()})
	}
	for _, g := range guards {
		if m := t.Meters[g]; m != nil {
			all = append(all, harm{g, meterPart, m.Harm.log(), m.text()})
		}
	}
	return all
}

// worst returns the comparison with the strongest evidence of harm, and the odds of all comparisons together. The
// initial wealth is divided between the comparisons by their parts, as if one bettor bet on all of them. By chance alone
// the odds exceed 1/DefaultAlpha at any time with a probability of at most DefaultAlpha.
func (t *Trial) worst(guards []Guard) (what harm, odds float64) {
	best, sum, parts := math.Inf(-1), math.Inf(-1), 0.0
	for _, h := range t.harms(guards) {
		x := math.Log(h.part) + h.evidence
		if sum, parts = logAdd(sum, x), parts+h.part; x > best {
			best, what = x, h
		}
	}
	return what, math.Exp(sum) / parts
}
