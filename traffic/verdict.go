package traffic

import (
	"fmt"
	"math"
	"slices"
)

// Verdict is the result of the comparison.
type Verdict string

// The verdicts.
const (
	// Worse is proven: it is wrong in at most DefaultAlpha of all cross-fades.
	Worse Verdict = "worse"
	// NoWorse is proven too: the possible harm is within the margins.
	NoWorse Verdict = "no worse"
	// NoHarm means that there is no sign of harm so far. Judgement.MoreErrors and MoreSlow say how much is possible.
	NoHarm Verdict = "no sign of harm"
	// Inconclusive means that there is some sign of harm, but no proof.
	Inconclusive Verdict = "inconclusive"
)

// Finding is the verdict of one guard with its reason.
type Finding struct {
	Guard   Guard   `json:"guard"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
}

// Judgement is the current result of a trial.
type Judgement struct {
	Verdict  Verdict
	Findings []Finding
	// Odds are the evidence of harm as odds against chance: from 1/DefaultAlpha on, the verdict is Worse.
	Odds float64
	// MoreErrors and MoreSlow are upper bounds, with 95 % confidence, of how much larger the shares of failed and of slow
	// requests are. 1 means that nothing is known.
	MoreErrors, MoreSlow float64
	// Cost estimates how many requests failed or were slow because of the new release.
	Cost float64
	// Requests is the number of requests that the new release answered.
	Requests uint64
	// Missing estimates how many more of them are needed until a good release is judged no worse.
	Missing float64
	// Proof is the part of the evidence for NoWorse that has been collected, from 0 to 1.
	Proof float64
}

// suspiciousOdds are the odds from which a cross-fade takes no further step. Chance alone reaches them in one of ten.
const suspiciousOdds = 10

// nearBudget is the part of the budget from which less evidence is needed.
const nearBudget = 0.6

// budgetOdds are the odds at which the traffic goes back if the budget is spent.
const budgetOdds = 30

// slowMargin is how much larger the share of requests above the old release's 95th percentile plus the margin may be for
// a release that is no worse in latency.
const slowMargin = 0.01

// Judge returns the trial's current result for the guards.
func (t *Trial) Judge(guards []Guard) Judgement {
	j := t.judge(guards)
	if text := t.few(); text != "" {
		j.Findings = append(j.Findings, Finding{Few, NoHarm, text})
	}
	return j
}

func (t *Trial) judge(guards []Guard) Judgement {
	what, odds := t.worst(guards)
	j := Judgement{
		Odds: odds, MoreErrors: t.ErrorsLimit.bound(), MoreSlow: t.SlowLimit.bound(), Cost: t.Cost(), Requests: t.Totals.New.Requests,
	}
	j.Verdict, j.Proof = NoWorse, 1
	for _, g := range guards {
		f := Finding{Guard: g}
		switch g {
		case Errors:
			f.Verdict, f.Text = limited(j.MoreErrors, t.margins.Errors), t.errorsText()
			j.Proof = min(j.Proof, t.ErrorsLimit.proof(t.margins.Errors, boundAlpha))
			j.Missing = max(j.Missing, t.ErrorsLimit.missing(t.margins.Errors, t.Known.Errors.estimate(usualErrors), boundAlpha))
		case Latency:
			f.Verdict, f.Text = limited(j.MoreSlow, slowMargin), t.slowText()
			j.Proof = min(j.Proof, t.SlowLimit.proof(slowMargin, boundAlpha))
			j.Missing = max(j.Missing, t.SlowLimit.missing(slowMargin, t.Known.Slow.estimate(1-quantiles[p95]), boundAlpha))
		case Answers, Shares, Few:
			continue
		default: // what instances use or count
			f.Verdict, f.Text = t.measured(g)
		}
		j.Findings = append(j.Findings, f)
		if f.Verdict != NoWorse {
			j.Verdict = NoHarm
		}
	}
	if text := t.outOfMemory(guards); text != "" {
		j.Verdict = Worse
		j.find(Finding{Memory, Worse, text})
		return j
	}
	if odds < suspiciousOdds && !t.striking() {
		if text := t.Ratio.mismatch(); text != "" {
			j.Verdict, j.Findings = Inconclusive, append(j.Findings, Finding{Shares, Inconclusive, text})
		}
		return j
	}
	sign := Finding{what.guard, Inconclusive, what.text}
	if odds >= 1/DefaultAlpha {
		sign.Verdict = Worse
	}
	j.Verdict = sign.Verdict
	j.find(sign)
	return j
}

// find adds a finding, or replaces the one of the same guard.
func (j *Judgement) find(f Finding) {
	if i := slices.IndexFunc(j.Findings, func(o Finding) bool { return o.Guard == f.Guard }); i >= 0 {
		j.Findings[i] = f
		return
	}
	j.Findings = append(j.Findings, f)
}

// striking reports whether so many of the new release's requests failed that the cross-fade must wait, even if they are
// few.
func (t *Trial) striking() bool {
	old, new := t.Totals.Old, t.Totals.New
	more := func(a, b uint64) bool {
		return float64(b)/float64(max(new.Requests, 1)) > float64(a)/float64(max(old.Requests, 1))+grossTolerance
	}
	return more(old.Errors, new.Errors) || more(old.Classes[4], new.Classes[4]) || more(old.Late, new.Late)
}

// limited returns the verdict of a guard without signs of harm.
func limited(bound, margin float64) Verdict {
	if bound <= margin {
		return NoWorse
	}
	return NoHarm
}

func (t *Trial) errorsText() string {
	old, new := t.Totals.Old, t.Totals.New
	return fmt.Sprintf("%s of %d requests failed, before %s of %d; %s", percent(float64(new.Errors), float64(new.Requests)), new.Requests,
		percent(float64(old.Errors), float64(old.Requests)), old.Requests, possible(t.ErrorsLimit.bound(), "failed"))
}

func (t *Trial) slowText() string {
	old, new := t.Totals.Old, t.Totals.New
	if t.Times == nil || new.Answers == 0 {
		return "no answers timed yet; the first 50 of each instance don't count"
	}
	return fmt.Sprintf("%s of %d answers took longer than %s, before %s of %d longer than %s; %s",
		percent(float64(new.Slow), float64(new.Answers)), new.Answers, t.lastNew.Bounds[t.Times.New[p95]],
		percent(float64(old.Slow), float64(old.Answers)), old.Answers, t.lastOld.Bounds[t.Times.Old[p95]],
		possible(t.SlowLimit.bound(), "slow"))
}

// possible describes how much harm is possible.
func possible(bound float64, what string) string {
	if bound >= 1 {
		return "too few requests to say how many more are possible"
	}
	return fmt.Sprintf("at most %s more %s of 1,000", perThousand(bound), what)
}

func perThousand(bound float64) string {
	if n := 1000 * bound; n != math.Trunc(n) {
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.0f", 1000*bound)
}
