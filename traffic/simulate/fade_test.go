package simulate

import (
	"math"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/traffic"
)

var good = Release{Failing: .001}

// many runs fades with seeds of their own and counts how they end.
func many(t *testing.T, runs int, w World) (through, back, withinBudget int, longest time.Duration) {
	t.Helper()
	for seed := range uint64(runs) {
		r := Fade(seed, w, cloud.DefaultFade(), nil, 2*time.Hour)
		switch r.Move {
		case traffic.Advance:
			through++
			longest = max(longest, r.Took)
		case traffic.Abort:
			back++
		case traffic.Stay, traffic.Hold:
			t.Errorf("seed %d: neither through nor back after %s", seed, r.Took)
		}
		if r.Harmed <= cloud.DefaultBudget {
			withinBudget++
		}
	}
	return through, back, withinBudget, longest
}

// Two releases that are alike get through, and in time.
func TestGoodReleasesGetThrough(t *testing.T) {
	for _, c := range []struct {
		rate   float64
		runs   int
		within time.Duration
	}{{.01, 10, 31 * time.Minute}, {1, 10, time.Hour}, {100, 10, 10 * time.Minute}} {
		through, back, _, longest := many(t, c.runs, World{Rate: c.rate, Old: good, New: good})
		t.Logf("%g requests a second: %d through, %d back, the longest after %s", c.rate, through, back, longest)
		if back > 0 || longest > c.within {
			t.Errorf("%g requests a second: %d go back, the longest took %s, want none and %s", c.rate, back, longest, c.within)
		}
	}
	// At 10 a second half of them are through in 6 minutes, and 95 % in 20.
	slow := 0
	for seed := range uint64(20) {
		if r := Fade(seed, World{Rate: 10, Old: good, New: good}, cloud.DefaultFade(), nil, 2*time.Hour); r.Move != traffic.Advance || r.Took > 20*time.Minute {
			slow++
		}
	}
	if slow > 3 { // P(Binomial(20, 0.05) > 3) is 0.016, and the seeds are fixed
		t.Errorf("10 requests a second: %d of 20 are not through in 20 minutes", slow)
	}
}

// Bad ones go back, within the budget.
func TestBadReleasesGoBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		new   Release
		rates []float64
	}{
		{"2 % fail", Release{Failing: .02}, []float64{100}},
		{"5 % fail", Release{Failing: .05}, []float64{1, 10, 100}},
		{"all fail", Release{Failing: 1}, []float64{.1, 1, 10, 100}},
		{"twice as slow", Release{Failing: .001, Slower: 2}, []float64{1, 10, 100}},
		{"all are 404", Release{NotFound: 1}, []float64{.1, 1, 10, 100}},
		{"all hang", Release{Hangs: true}, []float64{.1, 1, 10, 100}},
	} {
		for _, rate := range c.rates {
			const runs = 20
			through, back, within, _ := many(t, runs, World{Rate: rate, Old: good, New: c.new})
			if through > 0 || within < runs*95/100 {
				t.Errorf("%s at %g requests a second: %d through, %d back, %d of %d within the budget", c.name, rate, through, back, within, runs)
			}
		}
	}
	// Even where a request comes every other minute, what fails altogether does not get through.
	if through, _, _, _ := many(t, 20, World{Rate: .01, Old: good, New: Release{Failing: 1}}); through > 0 {
		t.Errorf("all fail at 36 requests an hour: %d of 20 get through", through)
	}
}

// Harm that is hard to see stays within the budget too, whether it is found or not.
func TestSmallHarmStaysWithinTheBudget(t *testing.T) {
	for name, fresh := range map[string]Release{"half a percent fails": {Failing: .005}, "1.3 times as slow": {Failing: .001, Slower: 1.3}} {
		for _, rate := range []float64{10, 100} {
			const runs = 40
			// P(Binomial(40, 0.95) < 35) is 0.014, and the seeds are fixed.
			if _, _, within, _ := many(t, runs, World{Rate: rate, Old: good, New: fresh}); within < 35 {
				t.Errorf("%s at %g requests a second: %d of %d within the budget", name, rate, within, runs)
			}
		}
	}
}

// At a fixed share a release that fails 5 % is found with half of the requests that it took before evidence added up:
// 276 and 972 on average.
func TestCostOfAFixedShare(t *testing.T) {
	plan := cloud.DefaultFade()
	plan.Over = cloud.Duration(2 * time.Hour)
	for share, most := range map[int]float64{5: 138, 50: 486} {
		const runs = 60
		sum := 0.0
		for seed := range uint64(runs) {
			r := Fade(seed, World{Rate: 10, Old: good, New: Release{Failing: .05}}, plan, []int{share, 100}, 2*time.Hour)
			if r.Move != traffic.Abort {
				t.Errorf("share %d, seed %d: %s", share, seed, r.Move)
			}
			sum += float64(r.Requests)
		}
		if mean := sum / runs; mean > most {
			t.Errorf("at %d %% it takes %.0f requests on average, want %g", share, mean, most)
		}
	}
}

// Releases that are alike are not called worse, whatever their traffic is like.
func TestFalseAlarms(t *testing.T) {
	alike := func(r Release) World { return World{Rate: 20, Old: r, New: r} }
	drift := alike(good)
	drift.Change = func(now time.Duration) Weather {
		x := math.Sin(now.Minutes() / 3)
		return Weather{Rate: 1 + .8*x, Failing: 1 + 3*max(0, x), Slower: 1 + .5*x}
	}
	pareto, cliff := alike(good), alike(good)
	pareto.Latency, cliff.Latency = Pareto, Cliff
	for name, w := range map[string]World{
		"log-normal": alike(good), "one of twenty fails": alike(Release{Failing: .05}), "pareto": pareto, "cliff": cliff, "drift": drift,
		"an outage an hour": alike(Release{Failing: .001, Outage: 2 * time.Second, Every: time.Hour}),
	} {
		const runs = 30
		// P(Binomial(30, 0.005) > 2) is 0.0005.
		if _, back, _, _ := many(t, runs, w); back > 2 {
			t.Errorf("%s: %d of %d go back", name, back, runs)
		}
	}
}

// A release that breaks during the fade goes back too.
func TestLateHarm(t *testing.T) {
	for seed := range uint64(10) {
		r := Fade(seed, World{Rate: 10, Old: good, New: Release{Failing: 1}, Breaks: 4 * time.Minute}, cloud.DefaultFade(), nil, time.Hour)
		if r.Move != traffic.Abort || r.Took > 4*time.Minute+15*time.Second {
			t.Errorf("seed %d: %s after %s: %s", seed, r.Move, r.Took, r.Why)
		}
	}
}
