package traffic

import (
	"fmt"
	"slices"
	"sort"
	"time"
)

// Sample is what one release did in a window of time.
type Sample struct {
	Requests uint64 `json:"requests"`
	Errors   uint64 `json:"errors"` // of them: answers with 5xx, and none at all
	// Counts are the requests that the app answered, by how long that took: Counts[i] took at most
	// Bounds[i] and more than Bounds[i-1]. Two samples that are compared have the same bounds.
	Bounds []time.Duration `json:"-"`
	Counts []uint64        `json:"-"`
}

// Guard is something that the new release may not be worse at.
type Guard string

// The guards.
const (
	Errors  Guard = "errors"  // the share of requests that fail
	Latency Guard = "latency" // the 95th percentile of the time to answer
)

// Margins are how much worse still counts as no worse.
type Margins struct {
	Errors  float64 `json:"errors"`  // difference of shares, 0 to 1
	Latency float64 `json:"latency"` // ratio above 1: 0.2 is 20 % longer
	// Floor is a difference in latency that is no worse whatever its ratio: nobody notices it, and a
	// release that gets few requests answers each from colder caches.
	Floor time.Duration `json:"floor"`
}

// before is how long the old release's quantile must be at least for one of x to be no worse: the
// inverse of max(y·(1+Latency), y+Floor).
func (m Margins) before(x time.Duration) time.Duration {
	return min(time.Duration(float64(x)/(1+m.Latency)), x-m.Floor)
}

// DefaultFloor is the floor of every comparison of latencies.
const DefaultFloor = 5 * time.Millisecond

// DefaultMargins are half a point of errors and a fifth of the latency, or 5 ms.
var DefaultMargins = Margins{Errors: 0.005, Latency: 0.2, Floor: DefaultFloor}

// DefaultAlpha is the probability of ever calling a release worse that is not, over all guards and steps
// of one cross-fade.
const DefaultAlpha = 0.005

// quantile is the one that latency is judged by.
const quantile = 0.95

// Verdict is what can be said of the new release.
type Verdict string

// The verdicts.
const (
	Worse        Verdict = "worse"
	NoWorse      Verdict = "no worse"
	Inconclusive Verdict = "inconclusive" // too little traffic to say either
)

// Finding is the verdict of one guard, and what it stands on.
type Finding struct {
	Guard   Guard   `json:"guard"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
}

// Judge compares the new release with the old one by all guards. alpha bounds the probability that any
// of them ever says Worse of a release that is not, however often Judge is called on growing samples of
// one comparison; equally that any says NoWorse of one that is worse.
func Judge(old, fresh Sample, guards []Guard, m Margins, alpha float64) (Verdict, []Finding) {
	overall := NoWorse
	findings := make([]Finding, 0, len(guards))
	for _, g := range guards {
		var f Finding
		switch each := alpha / float64(len(guards)); g {
		case Errors:
			f = judgeErrors(old, fresh, m.Errors, each)
		case Latency:
			f = judgeLatency(old, fresh, m, each)
		default:
			continue
		}
		findings = append(findings, f)
		switch {
		case f.Verdict == Worse:
			overall = Worse
		case f.Verdict == Inconclusive && overall != Worse:
			overall = Inconclusive
		}
	}
	return overall, findings
}

// judgeErrors bounds both shares, each with half of alpha, and compares the bounds.
func judgeErrors(old, fresh Sample, margin, alpha float64) Finding {
	oldLow, oldHigh := Bounds(old.Errors, old.Requests, alpha/2)
	newLow, newHigh := Bounds(fresh.Errors, fresh.Requests, alpha/2)
	text := fmt.Sprintf("%s of %d requests failed, before %s of %d; the difference is between %+.2f and %+.2f points",
		percent(fresh.Errors, fresh.Requests), fresh.Requests, percent(old.Errors, old.Requests), old.Requests,
		100*(newLow-oldHigh), 100*(newHigh-oldLow))
	if old.Requests == 0 || fresh.Requests == 0 {
		text = fmt.Sprintf("%d requests to judge by, before %d", fresh.Requests, old.Requests)
	}
	f := Finding{Guard: Errors, Verdict: Inconclusive, Text: text}
	switch {
	case newLow-oldHigh > margin:
		f.Verdict = Worse
	case newHigh-oldLow <= margin:
		f.Verdict = NoWorse
	}
	return f
}

// judgeLatency looks for an x of which the samples show that it separates the quantiles: that the new
// one's is above x and the old one's at most what x is no worse than, which is worse, or the other way
// round.
//
// Looking at all x costs nothing: were the new quantile no worse, then at an x at or above it the first
// claim would be false, and hold at the quantile itself too, since fewer requests exceed x; and at any
// other x the second, by the same argument. So one of two claims about fixed points would be false.
//
// The bounds rise with x. So the largest x that the new quantile is surely above is the one where the
// claim about the old one is most likely to hold, and no other need be tried.
func judgeLatency(old, fresh Sample, m Margins, alpha float64) Finding {
	f := Finding{Guard: Latency, Verdict: Inconclusive}
	oldUpTo, newUpTo := cumulate(old), cumulate(fresh)
	oldAll, newAll := last(oldUpTo), last(newUpTo)
	if oldAll == 0 || newAll == 0 {
		f.Text = fmt.Sprintf("%d answers to judge by, before %d", newAll, oldAll)
		return f
	}
	above, within := around(newUpTo, alpha/2)
	f.Text = fmt.Sprintf("95 %% were answered within %s, before within %s%s", atQuantile(fresh, newUpTo), atQuantile(old, oldUpTo),
		difference(old, fresh, above, within, oldUpTo, alpha/2))
	scaled := func(i int) (at int, exact bool) {
		return slices.BinarySearch(old.Bounds, m.before(fresh.Bounds[i]))
	}
	if above >= 0 {
		at, exact := scaled(above)
		if !exact {
			at--
		}
		if at >= 0 {
			if low, _ := Bounds(oldUpTo[at], oldAll, alpha/2); low >= quantile {
				f.Verdict = Worse
				return f
			}
		}
	}
	if within < len(newUpTo) {
		if at, _ := scaled(within); at < len(oldUpTo) {
			if _, high := Bounds(oldUpTo[at], oldAll, alpha/2); high < quantile {
				f.Verdict = NoWorse
			}
		}
	}
	return f
}

// around returns the bounds between which the quantile surely is: the last one that it is above, -1 for
// none, and the first that it is not, their number where that is not known.
func around(upTo []uint64, alpha float64) (above, within int) {
	all := last(upTo)
	above = sort.Search(len(upTo), func(i int) bool {
		_, high := Bounds(upTo[i], all, alpha)
		return high >= quantile
	}) - 1
	within = sort.Search(len(upTo), func(i int) bool {
		low, _ := Bounds(upTo[i], all, alpha)
		return low >= quantile
	})
	return above, within
}

// difference says by how much the new quantile is longer, as far as that is known.
func difference(old, fresh Sample, above, within int, oldUpTo []uint64, alpha float64) string {
	oldAbove, oldWithin := around(oldUpTo, alpha)
	if oldWithin >= len(old.Bounds) {
		return ""
	}
	from := func(s Sample, i int) time.Duration {
		if i < 0 {
			return 0
		}
		return s.Bounds[i]
	}
	signed := func(d time.Duration) string {
		if d = d.Round(10 * time.Microsecond); d < 0 {
			return d.String()
		}
		return "+" + d.String()
	}
	least := from(fresh, above) - old.Bounds[oldWithin]
	if within >= len(fresh.Bounds) {
		return fmt.Sprintf("; the difference is at least %s", signed(least))
	}
	return fmt.Sprintf("; the difference is between %s and %s", signed(least), signed(fresh.Bounds[within]-from(old, oldAbove)))
}

func last(upTo []uint64) uint64 {
	if len(upTo) == 0 {
		return 0
	}
	return upTo[len(upTo)-1]
}

// cumulate counts the requests up to each bound.
func cumulate(s Sample) []uint64 {
	sum, out := uint64(0), make([]uint64, len(s.Counts))
	for i, n := range s.Counts {
		sum += n
		out[i] = sum
	}
	return out
}

func atQuantile(s Sample, upTo []uint64) time.Duration {
	for i, n := range upTo {
		if float64(n) >= quantile*float64(last(upTo)) {
			return s.Bounds[i].Round(10 * time.Microsecond)
		}
	}
	return 0
}

func percent(part, whole uint64) string {
	if whole == 0 {
		return "none"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(part)/float64(whole))
}
