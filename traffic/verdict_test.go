package traffic

import (
	"math"
	"math/rand/v2"
	"regexp"
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

// each is what a comparison has of alpha at one of the four steps that a fade compares at by default.
var each = Stretch{}.alpha(DefaultAlpha / 4)

// compare draws until there is a verdict other than Inconclusive, looking after every batch, and returns
// it with the new release's requests by then.
func compare(old, fresh source, batchOld, batchNew, limit int, margins Margins) (Verdict, uint64) {
	var a, b Sample
	for b.Requests < uint64(limit) {
		old.draw(&a, batchOld)
		fresh.draw(&b, batchNew)
		if v, _ := Judge(a, b, both, margins, each); v == Worse {
			return v, b.Requests
		}
	}
	v, _ := Judge(a, b, both, margins, each)
	return v, b.Requests
}

// A release that is not worse is called worse in at most alpha of all fades, though they are looked at
// again and again, as a whole and of late. With margins of nothing the two are at the edge, where it
// is hardest. One step has all of alpha here.
func TestFalseAlarmsStayWithinAlpha(t *testing.T) {
	const runs = 200
	alarms := 0
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 1))
		same := source{rng, 0.01, 40 * time.Millisecond}
		f := defaultFade(Margins{})
		f.Steps, f.Step = []int{50, 100}, 1
		r := run{old: same, fresh: same, every: 20 * time.Second, perOld: 80, perFresh: 80}
		if v, _ := r.until(f, 1000*time.Second); v == Worse {
			alarms++
		}
	}
	t.Logf("%d false alarms in %d fades", alarms, runs)
	// P(Binomial(200, 0.005) > 5) is 0.001.
	if alarms > 5 {
		t.Errorf("%d false alarms in %d fades, want at most 5 at alpha %g", alarms, runs, DefaultAlpha)
	}
}

// Nor is one that is worse by just the margin ever found to be no worse, but for alpha.
func TestWorseIsHardlyMissed(t *testing.T) {
	const runs = 400
	missed := 0
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 6))
		old, fresh := source{rng, 0.01, 40 * time.Millisecond}, source{rng, 0.0151, 40 * time.Millisecond}
		var a, b Sample
		for range 100 {
			old.draw(&a, 100)
			fresh.draw(&b, 100)
			if v, _ := Judge(a, b, []Guard{Errors}, DefaultMargins, DefaultAlpha); v == NoWorse {
				missed++
				break
			}
		}
	}
	if missed > 7 {
		t.Errorf("%d of %d are called no worse, want at most 7 at alpha %g", missed, runs, DefaultAlpha)
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
	v, n := compare(same, same, 500, 500, 8000, DefaultMargins)
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

// A finding says by how much the releases differ, as far as that is known.
func TestFindings(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	var none, few, fast, slow Sample
	source{rng, 0, 40 * time.Millisecond}.draw(&few, 3)
	source{rng, 0, 40 * time.Millisecond}.draw(&fast, 5000)
	source{rng, .01, 80 * time.Millisecond}.draw(&slow, 5000)
	for _, c := range []struct {
		name       string
		old, fresh Sample
		errors     string
		latency    string
	}{
		{"nothing", none, none, `^0 requests to judge by, before 0$`, `^0 answers to judge by, before 0$`},
		{"nothing of one", fast, none, `^0 requests to judge by, before 5000$`, `^0 answers to judge by, before 5000$`},
		{"too few", fast, few, `^0\.00 % of 3 requests failed, before 0\.00 % of 5000; the difference is between -0\.\d+ and \+9\d\.\d+ points$`, `^95 % were answered within [\d.]+ms, before within [\d.]+ms; the difference is at least -\d+\.\d+ms$`},
		{"slower", fast, slow, `^1\.\d+ % of 5000 .*between \+0\.\d+ and \+\d\.\d+ points$`, `; the difference is between \+[678]\d\.\d+ms and \+1[01]\d\.\d+ms$`},
		{"faster", slow, fast, `between -\d\.\d+ and -0\.\d+ points$`, `; the difference is between -1[01]\d\.\d+ms and -[678]\d\.\d+ms$`},
	} {
		_, findings := Judge(c.old, c.fresh, both, DefaultMargins, DefaultAlpha)
		for i, want := range []string{c.errors, c.latency} {
			if !regexp.MustCompile(want).MatchString(findings[i].Text) {
				t.Errorf("%s: %q, want %s", c.name, findings[i].Text, want)
			}
		}
	}
}
