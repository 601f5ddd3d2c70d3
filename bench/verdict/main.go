// Command verdict plays thousands of cross-fades of made-up traffic and prints what became of them, as the tables
// of docs/verdict.md.
package main

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/traffic"
	"github.com/protoduction/micro/traffic/simulate"
)

var (
	runs   = flag.Int("runs", 100, "fades of each release at each rate up to 10 requests a second; fewer above")
	least  = flag.Float64("least", 0, "the smallest rate of requests a second that releases are played at")
	most   = flag.Float64("most", 1000, "the largest")
	alarms = flag.Int("alarms", 10_000, "fades between releases that are alike, in all")
)

func main() {
	flag.Parse()
	good := simulate.Release{Failing: .001}
	fmt.Println("| the new release | requests a second | through / back | minutes, half of them and 95 % | harmed, half and 95 % | within the budget |\n|---|---|---|---|---|---|")
	for _, c := range []struct {
		name string
		new  simulate.Release
	}{
		{"like the old one", good}, {"0.5 % errors", simulate.Release{Failing: .005}}, {"1 % errors", simulate.Release{Failing: .01}},
		{"2 % errors", simulate.Release{Failing: .02}}, {"5 % errors", simulate.Release{Failing: .05}}, {"50 % errors", simulate.Release{Failing: .5}},
		{"100 % errors", simulate.Release{Failing: 1}}, {"404 for everything", simulate.Release{NotFound: 1}}, {"hangs", simulate.Release{Hangs: true}},
		{"1.3 times as slow", simulate.Release{Failing: .001, Slower: 1.3}}, {"1.5 times as slow", simulate.Release{Failing: .001, Slower: 1.5}},
		{"twice as slow", simulate.Release{Failing: .001, Slower: 2}},
	} {
		for _, rate := range []float64{.01, .1, 1, 10, 100, 1000} {
			if rate < *least || rate > *most {
				continue
			}
			n := *runs
			if rate > 10 {
				n = max(1, n/2)
			}
			if rate > 100 {
				n = max(1, n/5)
			}
			row(c.name, n, simulate.World{Rate: rate, Old: good, New: c.new})
		}
	}
	fmt.Println("\n| the best of all tests | requests, half of them and 95 % | harmed, half and 95 % | within the budget |\n|---|---|---|---|")
	for _, c := range []struct {
		name string
		new  simulate.Release
	}{
		{"0.5 % errors", simulate.Release{Failing: .005}}, {"1 % errors", simulate.Release{Failing: .01}}, {"5 % errors", simulate.Release{Failing: .05}},
		{"1.3 times as slow", simulate.Release{Slower: 1.3}}, {"1.5 times as slow", simulate.Release{Slower: 1.5}}, {"twice as slow", simulate.Release{Slower: 2}},
	} {
		bound(c.name, good, c.new)
	}
	fmt.Println("\n| 5 % errors, at a share of | requests to the new release, on average | before |\n|---|---|---|")
	for _, c := range []struct{ share, before int }{{5, 276}, {50, 972}} {
		fixed(c.share, c.before, 400)
	}
	fmt.Println("\n| alike, and | fades | called worse | at most (95 %) |\n|---|---|---|---|")
	fades, backs := 0, 0
	for _, c := range alike() {
		n := *alarms * c.percent / 100
		if n == 0 {
			continue
		}
		back := 0
		for _, r := range many(n, c.World) {
			if r.Move == traffic.Abort {
				back++
			}
		}
		fmt.Printf("| %s | %d | %d | %.2f %% |\n", c.name, n, back, 100*upper(back, n))
		independent := c.Clients == nil || c.Clients.Noisy == 0 || c.Clients.ByClient
		if c.Old.Outage == 0 && independent { // an outage is a difference
			fades, backs = fades+n, backs+back
		}
	}
	fmt.Printf("| **all without outages and noisy clients by request** | %d | %d | %.2f %% |\n", fades, backs, 100*upper(backs, fades))
}

// fixed prints what it costs to find a release that fails 5 % at a fixed share in percent.
func fixed(share, before, n int) {
	plan, sum := cloud.DefaultFade(), uint64(0)
	plan.Over = cloud.Duration(2 * time.Hour) // the first step lasts
	w := simulate.World{Rate: 10, Old: simulate.Release{Failing: .001}, New: simulate.Release{Failing: .05}}
	for seed := range uint64(n) {
		sum += simulate.Fade(seed, w, plan, []int{share, 100}, 2*time.Hour).Requests
	}
	fmt.Printf("| %d %% | %.0f | %d |\n", share, float64(sum)/float64(n), before)
}

// many plays fades with seeds of their own, on all processors.
func many(n int, w simulate.World) []simulate.Result {
	results := make([]simulate.Result, n)
	var all sync.WaitGroup
	for part := range 2 {
		all.Go(func() {
			for seed := part; seed < n; seed += 2 {
				results[seed] = simulate.Fade(uint64(seed), w, cloud.DefaultFade(), nil, 2*time.Hour)
			}
		})
	}
	all.Wait()
	return results
}

func row(name string, n int, w simulate.World) {
	var minutes, harmed []float64
	through, back, within := 0, 0, 0
	for _, r := range many(n, w) {
		minutes, harmed = append(minutes, r.Took.Minutes()), append(harmed, float64(r.Harmed))
		switch {
		case r.Move == traffic.Advance:
			through++
		case r.Move == traffic.Abort:
			back++
		}
		if r.Harmed <= cloud.DefaultBudget {
			within++
		}
	}
	fmt.Printf("| %s | %g | %d / %d | %.1f, %.1f | %.0f, %.0f | %d %% |\n", name, w.Rate, through, back, quantile(minutes, .5), quantile(minutes, .95), quantile(harmed, .5), quantile(harmed, .95), 100*within/n)
}

// bound prints what the best of all tests costs.
func bound(name string, old, fresh simulate.Release) {
	var requests, harmed []float64
	within := 0
	const n = 2000
	for seed := range uint64(n) {
		a, b := simulate.Oracle(seed, old, fresh, traffic.DefaultMargins)
		requests, harmed = append(requests, float64(a)), append(harmed, float64(b))
		if b <= cloud.DefaultBudget {
			within++
		}
	}
	fmt.Printf("| %s | %.0f, %.0f | %.0f, %.0f | %d %% |\n", name, quantile(requests, .5), quantile(requests, .95), quantile(harmed, .5), quantile(harmed, .95), 100*within/n)
}

// quantile sorts x and returns the value that a share q of it does not exceed.
func quantile(x []float64, q float64) float64 {
	slices.Sort(x)
	return x[int(math.Ceil(q*float64(len(x))))-1]
}

type sameRelease struct {
	name    string
	percent int // of all fades
	simulate.World
}

// alike are worlds in which the releases do not differ.
func alike() []sameRelease {
	world := func(rate float64, r simulate.Release) simulate.World {
		return simulate.World{Rate: rate, Old: r, New: r}
	}
	good := simulate.Release{Failing: .001}
	pareto, cliff, drift, bursts := world(20, good), world(20, good), world(20, good), world(20, good)
	pareto.Latency, cliff.Latency = simulate.Pareto, simulate.Cliff
	drift.Change = func(now time.Duration) simulate.Weather {
		x := math.Sin(now.Minutes() / 3)
		return simulate.Weather{Rate: 1 + .8*x, Failing: 1 + 3*max(0, x), Slower: 1 + .5*x}
	}
	bursts.Change = func(now time.Duration) simulate.Weather {
		if int(now.Seconds())%97 < 5 {
			return simulate.Weather{Rate: 8, Failing: 20, Slower: 3}
		}
		return simulate.Weather{Rate: .7, Failing: 1, Slower: 1}
	}
	day := world(20, good)
	day.Phase = 24 * time.Hour
	day.Change = func(now time.Duration) simulate.Weather {
		x := math.Sin(2 * math.Pi * now.Hours() / 24)
		return simulate.Weather{Rate: math.Pow(10, x/2), Failing: 2 + x, Slower: 1 + x/3}
	}
	crowd := func(n int, noisy float64, byClient bool) simulate.World {
		w := world(50, good)
		w.Clients = &simulate.Clients{N: n, Noisy: noisy, Failing: .5, Stay: 10 * time.Minute, ByClient: byClient}
		return w
	}
	outage := func(every time.Duration) simulate.Release {
		return simulate.Release{Failing: .001, Outage: 2 * time.Second, Every: every}
	}
	return []sameRelease{
		{"log-normal latency, 0.1 % errors, 20 requests a second", 26, world(20, good)},
		{"1 % errors, 50 a second", 10, world(50, simulate.Release{Failing: .01})},
		{"5 % errors, 5 a second", 15, world(5, simulate.Release{Failing: .05})},
		{"Pareto latency (1.1)", 10, pareto}, {"exactly 5 % slow answers", 10, cliff},
		{"rate, errors and latency that drift", 10, drift}, {"bursts of requests, errors and slow answers", 10, bursts},
		{"a day: the rate changes tenfold, errors and latency with it", 10, day},
		{"many clients who stay ten minutes, 50 a second", 10, crowd(1000, 0, false)},
		{"50 clients, 4 % of whom fail half of their requests, counted by client", 10, crowd(50, .04, true)},
		{"the same, counted by request", 2, crowd(50, .04, false)},
		{"an outage of 2 s every hour each, 20 a second", 8, world(20, outage(time.Hour))},
		{"an outage of 2 s every 10 minutes each, 100 a second", 2, world(100, outage(10*time.Minute))},
	}
}
