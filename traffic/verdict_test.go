package traffic

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// testBounds are those of a histogram with steps of 3 %.
var testBounds = func() (bounds []time.Duration) {
	for x := float64(time.Millisecond); x < float64(2*time.Second); x *= 1.03 {
		bounds = append(bounds, time.Duration(x))
	}
	return bounds
}()

// source draws requests of a release.
type source struct {
	rng    *rand.Rand
	errors float64
	median time.Duration // of a log-normal latency with sigma ½: its p95 is 2.28 times that
}

func (s source) draw(to *Sample, n int) {
	if to.Bounds == nil {
		to.Bounds, to.Counts = testBounds, make([]uint64, len(testBounds))
	}
	for range n {
		to.Requests++
		if s.rng.Float64() < s.errors {
			to.Errors++
		}
		took := float64(s.median) * math.Exp(s.rng.NormFloat64()/2)
		i := int(math.Ceil(math.Log(took/float64(time.Millisecond)) / math.Log(1.03)))
		to.Counts[min(max(i, 0), len(to.Counts)-1)]++
	}
}

var both = []Guard{Errors, Latency}

// compare draws until there is a verdict other than Inconclusive, looking after every batch, and returns
// it with the new release's requests by then.
func compare(old, fresh source, batchOld, batchNew, limit int, margins Margins) (Verdict, uint64) {
	var a, b Sample
	for b.Requests < uint64(limit) {
		old.draw(&a, batchOld)
		fresh.draw(&b, batchNew)
		if v, _ := Judge(a, b, both, margins, DefaultAlpha); v == Worse {
			return v, b.Requests
		}
	}
	v, _ := Judge(a, b, both, margins, DefaultAlpha)
	return v, b.Requests
}

// A release that is not worse is called worse in at most alpha of all comparisons, though they are looked
// at hundreds of times each. With margins of nothing the two are at the edge, where it is hardest.
func TestFalseAlarmsStayWithinAlpha(t *testing.T) {
	const runs = 400
	alarms := 0
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 1))
		same := source{rng, 0.01, 40 * time.Millisecond}
		if v, _ := compare(same, same, 40, 40, 4000, Margins{}); v == Worse {
			alarms++
		}
	}
	// P(Binomial(400, 0.005) > 7) is 0.001.
	if alarms > 7 {
		t.Errorf("%d false alarms in %d comparisons, want at most 7 at alpha %g", alarms, runs, DefaultAlpha)
	}
}

// What is much worse is found, and soon.
func TestWorseIsFound(t *testing.T) {
	for _, c := range []struct {
		name       string
		errors     float64
		median     time.Duration
		shareOfNew int // of 100 requests
		within     uint64
	}{
		{"5 % errors instead of 0.1 % at a share of 5 %", 0.05, 40 * time.Millisecond, 5, 600},
		{"5 % errors instead of 0.1 % at a share of 50 %", 0.05, 40 * time.Millisecond, 50, 1800},
		{"doubled latency at a share of 5 %", 0.001, 80 * time.Millisecond, 5, 600},
		{"doubled latency at a share of 50 %", 0.001, 80 * time.Millisecond, 50, 1800},
	} {
		worst, sum := uint64(0), uint64(0)
		const runs = 60
		for seed := range uint64(runs) {
			rng := rand.New(rand.NewPCG(seed, 2))
			v, n := compare(source{rng, 0.001, 40 * time.Millisecond}, source{rng, c.errors, c.median},
				100-c.shareOfNew, c.shareOfNew, 20_000, DefaultMargins)
			if v != Worse {
				t.Fatalf("%s: %s after %d requests", c.name, v, n)
			}
			worst, sum = max(worst, n), sum+n
		}
		t.Logf("%s: found after %d requests on average, %d at most", c.name, sum/runs, worst)
		if worst > c.within {
			t.Errorf("%s: found after %d requests, want at most %d", c.name, worst, c.within)
		}
	}
}

// Two releases that are alike come to be called so.
func TestNoWorseIsFound(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	same := source{rng, 0.001, 40 * time.Millisecond}
	v, n := compare(same, same, 500, 500, 6000, DefaultMargins)
	if v != NoWorse {
		t.Errorf("two alike releases are %q after %d requests each", v, n)
	}
}

func TestNothingIsInconclusive(t *testing.T) {
	if v, findings := Judge(Sample{}, Sample{}, both, DefaultMargins, DefaultAlpha); v != Inconclusive || len(findings) != 2 {
		t.Errorf("no requests at all are %q: %v", v, findings)
	}
}

func TestBoundsAroundTheShare(t *testing.T) {
	for _, c := range []struct{ s, n uint64 }{{0, 1}, {1, 1}, {0, 100}, {100, 100}, {7, 300}, {50_000, 1_000_000}} {
		low, high := Bounds(c.s, c.n, 0.01)
		share := float64(c.s) / float64(c.n)
		if low > share || high < share || low < 0 || high > 1 || math.IsNaN(low+high) {
			t.Errorf("%d of %d: %g is not within [%g, %g]", c.s, c.n, share, low, high)
		}
	}
	if low, high := Bounds(50_000, 1_000_000, 0.01); high-low > 0.003 {
		t.Errorf("a million trials leave [%g, %g]", low, high)
	}
}

func BenchmarkJudge(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 4))
	s := source{rng, 0.01, 40 * time.Millisecond}
	var x, y Sample
	s.draw(&x, 10_000)
	s.draw(&y, 10_000)
	for b.Loop() {
		Judge(x, y, both, DefaultMargins, DefaultAlpha)
	}
}
