package traffic

import (
	"math"
	"time"
)

// DefaultAlpha bounds the probability that a release that is not worse is called worse, over all guards and steps of one
// cross-fade.
const DefaultAlpha = 0.005

// boundAlpha bounds the probability that the harm exceeds the ceiling that is shown for it.
const boundAlpha = 0.05

// The parts of the wealth of each comparison. They are relative: the comparisons of a cross-fade share the wealth.
const (
	errorsPart = 0.4
	shiftPart  = 0.4   // of all answers
	tailPart   = 0.06  // of the slowest twentieth
	classPart  = 0.015 // of 3xx, and of 4xx
	sizePart   = 0.01  // of answers that are too short, and too long
	failPart   = 0.03  // gross errors
	latePart   = 0.06  // requests that hang
)

// Trial is the evidence of a comparison of two releases on one route. It adds up over all steps of a cross-fade: in each
// block of time both releases have the same kind of traffic, so a block counts whatever the shares are. It is stored as
// JSON to survive restarts.
type Trial struct {
	Began  time.Time `json:"began"`
	Totals struct {
		Old Tally `json:"old"`
		New Tally `json:"new"`
	} `json:"totals"`
	// Observed is how long requests have been counted; Recent is the recent number of requests per second.
	Observed time.Duration `json:"observed"`
	Recent   float64       `json:"recent"`
	// Excess is how many more requests failed or were slow than the old release would have caused.
	ExcessErrors float64 `json:"excess_errors"`
	ExcessSlow   float64 `json:"excess_slow"`

	ErrorsHarm  suspicion    `json:"errors_harm"`
	ErrorsLimit ceiling      `json:"errors_limit"`
	ShiftHarm   suspicion    `json:"shift_harm"`
	TailHarm    suspicion    `json:"tail_harm"`
	SlowLimit   ceiling      `json:"slow_limit"`
	FailHarm    suspicion    `json:"fail_harm"`
	ClassHarm   [2]suspicion `json:"class_harm"` // 3xx and 4xx
	LateHarm    suspicion    `json:"late_harm"`
	SizeHarm    [2]suspicion `json:"size_harm"` // answers that are too short, and too long
	Sizes       *sizes       `json:"sizes,omitempty"`
	Ratio       ratio        `json:"ratio"`
	Used        struct {
		Old Resources `json:"old"`
		New Resources `json:"new"`
	} `json:"used"`
	Meters    map[Guard]*meter `json:"meters,omitempty"`
	FullSince time.Time        `json:"full_since,omitzero"` // when an instance of the new release reached its memory limit
	MoreSince time.Time        `json:"more_since,omitzero"` // when it began to use more memory than the guard allows
	Times     *times           `json:"times,omitempty"`
	Known     history          `json:"known"`

	margins Margins
	blocks  struct {
		errors, late       pair
		classes            [2]pair
		slow               spectrum
		took               time.Duration // since the last block of requests
		tookSlow, tookLate time.Duration
		sizes              [2]pair
		tookSizes          time.Duration
	}
	share            float64 // expected share of the new release, 0 to 1; 0 if unknown
	lastOld, lastNew Sample
	at               time.Time
	underway         underway
}

// Tally is what one release did in a trial.
type Tally struct {
	Requests uint64    `json:"requests"`
	Errors   uint64    `json:"errors"`
	Classes  [6]uint64 `json:"classes"`
	Answers  uint64    `json:"answers"` // timed answers
	Slow     uint64    `json:"slow"`    // of them, slower than the old release's 95th percentile plus the margin
	Unusual  uint64    `json:"unusual"` // answers with 2xx of an unusual length
	Late     uint64    `json:"late"`    // requests that ran longer than 99 % of the old release's
}

// history has the estimated rates, also from before the trial. It only chooses what to bet on. It is never evidence itself,
// because that would not be safe against drift.
type history struct {
	Errors, Late       frequency
	Classes            [2]frequency
	Sizes              [2]frequency
	Slow, Slowest      frequency // above the 95th and the 99th percentile
	Spectrum           [len(quantiles) + 1]float64
	NewErrors, NewSlow frequency
}

// frequency estimates a probability from K of N requests and a prior.
type frequency struct{ N, K float64 }

// usualErrors is the assumed share of errors of an unknown release.
const usualErrors = 0.001

// estimate returns the estimated probability. The prior counts like 20 requests.
func (r frequency) estimate(prior float64) float64 { return r.estimateWith(prior, 20) }

// estimateWith is estimate with a prior that counts like weight requests.
func (r frequency) estimateWith(prior, weight float64) float64 {
	return (r.K + prior*weight) / (r.N + weight)
}

// alike is the weight in requests of the prior "the new release is like the old one". It affects how a ceiling bets: one
// failure among the first hundred requests must not make it bet on a bad release.
const alike = 400

// add counts n more requests, k of them with the outcome. Old requests count less and less.
func (r *frequency) add(n, k float64) {
	const most = 5000
	r.N, r.K = r.N+n, r.K+k
	if r.N > most {
		r.N, r.K = most, r.K*most/r.N
	}
}

// Begin starts a comparison. old is what the old release has done on the route so far.
func Begin(old, new Sample, m Margins, now time.Time) *Trial {
	t := &Trial{Began: now, ErrorsHarm: newSuspicion(harmLifts), ErrorsLimit: newCeiling(), SlowLimit: newCeiling(),
		ShiftHarm: newSuspicion(tilts), TailHarm: newSuspicion(harmLifts),
		FailHarm: newSuspicion(grossLifts), LateHarm: newSuspicion(grossLifts),
	}
	for i := range t.ClassHarm {
		t.ClassHarm[i], t.SizeHarm[i] = newSuspicion(grossLifts), newSuspicion(grossLifts)
	}
	// The past counts at most 2,000 requests, so that it does not outweigh the present.
	past := min(1, 2000/float64(max(old.Requests, 1)))
	n := past * float64(old.Requests)
	t.Known.Errors.add(n, past*float64(old.Errors))
	for i := range t.Known.Classes {
		t.Known.Classes[i].add(n, past*float64(old.Classes[i+3]))
	}
	t.Resume(old, new, m, now)
	t.chooseTimes(old)
	t.observeSizes(old, Sample{}, Sample{})
	return t
}

// Resume continues a trial after a restart. Requests counted so far are not compared.
func (t *Trial) Resume(old, new Sample, m Margins, now time.Time) {
	t.margins, t.lastOld, t.lastNew, t.at = m, old.clone(), new.clone(), now
	t.underway = underway{}
}

func (t *Trial) chooseTimes(old Sample) {
	if old.answers() < leastAnswers {
		return
	}
	chosen := chooseTimes(old, t.margins)
	t.Times = &chosen
	below := 0.0
	for i, q := range quantiles {
		t.Known.Spectrum[i], below = 100*(q-below), q
	}
	t.Known.Spectrum[len(quantiles)] = 100 * (1 - below)
	t.Known.Slow = frequency{N: 100, K: 100 * (1 - quantiles[p95])}
	t.Known.Slowest = frequency{N: 100, K: 100 * (1 - quantiles[p99])}
	t.Known.Late = frequency{N: 100, K: 1}
}

// Since returns the time since the last observation.
func (t *Trial) Since(now time.Time) time.Duration { return now.Sub(t.at) }

// Valid reports whether a decoded trial is complete: another version of micro may have other bets.
func (t *Trial) Valid() bool {
	ok := len(t.ErrorsHarm.Stakes) == len(harmLifts) && len(t.TailHarm.Stakes) == len(harmLifts) && len(t.ShiftHarm.Stakes) == len(tilts)
	for _, s := range []*suspicion{&t.ErrorsHarm, &t.TailHarm, &t.ShiftHarm, &t.FailHarm, &t.LateHarm, &t.ClassHarm[0], &t.ClassHarm[1], &t.SizeHarm[0], &t.SizeHarm[1]} {
		ok = ok && len(s.Limits) == len(s.Stakes) && len(s.Stakes) > 0
	}
	for _, s := range []*suspicion{&t.FailHarm, &t.LateHarm, &t.ClassHarm[0], &t.ClassHarm[1], &t.SizeHarm[0], &t.SizeHarm[1]} {
		ok = ok && len(s.Stakes) == len(grossLifts)
	}
	for _, m := range t.Meters {
		ok = ok && m != nil && len(m.Harm.Stakes) == len(meterLifts) && len(m.Harm.Limits) == len(meterLifts)
	}
	return ok
}

// Rate returns the host's requests per second: the larger one of the average and the recent rate; 0 while the trial is too
// young.
func (t *Trial) Rate() float64 {
	n := t.Totals.Old.Requests + t.Totals.New.Requests
	if t.Observed < leastObserved && n < 50 {
		return 0
	}
	return max(float64(n+1)/t.Observed.Seconds(), t.Recent)
}

// leastObserved is how long requests are counted before the rate is known.
const leastObserved = 10 * time.Second

// Observe adds what both releases did since the last observation. Samples are as in Begin.
func (t *Trial) Observe(old, new Sample, now time.Time) {
	a, b, took := old.since(t.lastOld), new.since(t.lastNew), now.Sub(t.at)
	if took <= 0 {
		return
	}
	t.lastOld, t.lastNew, t.at = old.clone(), new.clone(), now
	t.Totals.Old.add(a)
	t.Totals.New.add(b)
	t.Observed += took
	fade := math.Exp(-took.Seconds() / 60)
	t.Recent = fade*t.Recent + (1-fade)*float64(a.Requests+b.Requests)/took.Seconds()
	bl := &t.blocks
	bl.took, bl.tookSlow, bl.tookSizes = bl.took+took, bl.tookSlow+took, bl.tookSizes+took
	if t.share > 0 {
		t.Ratio.add(a.Started, b.Started, t.share, took)
	}
	t.observeSizes(old, a, b)
	n, m := float64(a.Requests), float64(b.Requests)
	bl.errors = bl.errors.plus(pair{n, float64(a.Errors), m, float64(b.Errors)})
	for i := range bl.classes {
		bl.classes[i] = bl.classes[i].plus(pair{n, float64(a.Classes[i+3]), m, float64(b.Classes[i+3])})
	}
	if bl.errors.oldN > 0 && bl.errors.newN > 0 {
		t.judgeBlock()
	}
	if t.Times == nil {
		t.chooseTimes(old)
		return
	}
	bl.slow = bl.slow.plus(spectrum{a.bins(t.Times.Old), b.bins(t.Times.New)})
	t.Totals.Old.Slow += a.above(t.Times.Old[p95])
	t.Totals.New.Slow += b.above(t.Times.New[p95])
	if p := bl.slow.above(p95); p.oldN > 0 && p.newN > 0 {
		t.judgeTimes()
	}
	t.observeLate(old, new, now, took)
}

func (t *Trial) judgeBlock() {
	bl, k := &t.blocks, &t.Known
	p := bl.errors
	old := k.Errors.estimate(usualErrors)
	t.ErrorsHarm.add(harmLifts, p, old, ErrorsTolerance, bl.took)
	t.FailHarm.add(grossLifts, p, old, grossTolerance, bl.took)
	t.ErrorsLimit.add(p, old, k.NewErrors.estimateWith(old, alike), boundAlpha)
	t.ExcessErrors += p.newK - p.newN*old
	k.Errors.add(p.oldN, p.oldK)
	k.NewErrors.add(p.newN, p.newK)
	for i := range bl.classes {
		p := bl.classes[i]
		t.ClassHarm[i].add(grossLifts, p, k.Classes[i].estimate(0.01), grossTolerance, bl.took)
		k.Classes[i].add(p.oldN, p.oldK)
		bl.classes[i] = pair{}
	}
	bl.errors, bl.took = pair{}, 0
}

func (t *Trial) judgeTimes() {
	bl, k := &t.blocks, &t.Known
	p, usual := bl.slow.above(p95), k.spectrum()
	old := k.Slow.estimate(1 - quantiles[p95])
	t.ShiftHarm.bet(tilts, bl.tookSlow, func(l lift) float64 { return bl.slow.shifted(usual, l.by) })
	t.TailHarm.add(harmLifts, p, old, slowTolerance, bl.tookSlow)
	t.SlowLimit.add(p, old, k.NewSlow.estimate(old), boundAlpha)
	slow := bl.slow.above(p99)
	t.ExcessSlow += slow.newK - slow.newN*k.Slowest.estimate(1-quantiles[p99])
	k.Slowest.add(slow.oldN, slow.oldK)
	k.NewSlow.add(p.newN, p.newK)
	k.Slow.add(p.oldN, p.oldK)
	for i, n := range bl.slow.old {
		k.Spectrum[i] += n
	}
	bl.slow, bl.tookSlow = spectrum{}, 0
}

// spectrum returns the estimated distribution of the old release.
func (h *history) spectrum() (p [len(quantiles) + 1]float64) {
	sum := 0.0
	for _, n := range h.Spectrum {
		sum += n
	}
	for i, n := range h.Spectrum {
		p[i] = n / sum
	}
	return p
}

func (t *Tally) add(s Sample) {
	t.Requests += s.Requests
	t.Errors += s.Errors
	t.Answers += s.answers()
	for i, n := range s.Classes {
		t.Classes[i] += n
	}
}

// Cost estimates how many requests failed or were slow because of the new release.
func (t *Trial) Cost() float64 {
	return max(0, t.ExcessErrors) + max(0, t.ExcessSlow) + float64(t.underway.overdueNew)
}
