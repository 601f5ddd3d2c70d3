package simulate

import (
	"math/rand/v2"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/traffic"
)

// World is the traffic of a host and its two releases.
type World struct {
	Rate     float64 // requests a second on average
	Old, New Release
	Latency  Latency
	// Change makes the rate and everybody's errors and latency change over time; nil leaves them.
	Change func(now time.Duration) Weather
	// Clients send the requests; nil for requests that don't depend on each other.
	Clients *Clients
	// Phase is the length of time of which a random part has passed of Change when the fade begins.
	Phase time.Duration
	// Breaks is when New begins to be as it is; before that it is as Old. 0 is from the first request on.
	Breaks time.Duration
}

// Weather is what both releases share.
type Weather struct{ Rate, Failing, Slower float64 }

// Result is how a cross-fade went.
type Result struct {
	Move     traffic.Move // Advance: it finished; Abort; else it was under way when the time was over
	Why      string
	Took     time.Duration // since the first share
	Requests uint64        // that the new release got
	Harmed   int           // requests that it failed or answered slowly and the old one would not have
}

// Fade runs a cross-fade until it has ended, or for limit at most.
func Fade(seed uint64, w World, plan cloud.FadePlan, steps []int, limit time.Duration) Result {
	rng := rand.New(rand.NewPCG(seed, 12))
	if w.Latency == nil {
		w.Latency = LogNormal
	}
	phase := time.Duration(rng.Float64() * float64(w.Phase))
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	margins := traffic.Margins{Errors: plan.Errors, Latency: plan.Latency, Floor: traffic.DefaultFloor}
	old, fresh := newServer(w.Old, rng), newServer(w.New, rng)
	fresh.cold = instances * warmup
	if w.Breaks > 0 {
		fresh.Release = old.Release
	}
	// The old release has a past: an hour, or a few thousand requests.
	old.serve(rng, min(poisson(rng, w.Rate*3600), 5000), w.Latency, 0, w.Old, margins, 0)
	slow := slowFrom(rng, w.Latency, margins)
	f := &cloud.Crossfade{Steps: steps, FadePlan: plan, Started: start, Since: start}
	guards := make([]traffic.Guard, len(plan.Guards))
	for i, g := range plan.Guards {
		guards[i] = traffic.Guard(g)
	}
	trial := traffic.Begin(old.did, fresh.did, margins, start)
	var all *crowd
	if w.Clients != nil {
		all = newCrowd(*w.Clients, rng)
		a, b := all.samples(old, fresh)
		trial.Resume(a, b, margins, start)
	}
	for now := time.Duration(0); now < limit; now += time.Second {
		j := trial.Judge(guards)
		known := w.Rate
		if all != nil && all.ByClient {
			known = trial.Rate()
		}
		d := traffic.Next(f, traffic.Readiness{Up: true, Back: true}, j, known, start.Add(now))
		switch {
		case d.Move == traffic.Abort, d.Move == traffic.Advance && d.Share >= 100:
			return Result{d.Move, d.Why, now, fresh.did.Started, fresh.harmed}
		case d.Move == traffic.Advance:
			if f.Step == 0 {
				f.First = start.Add(now)
			}
			f.Step, f.Percent, f.Since = f.Step+1, d.Share, start.Add(now)
		}
		if w.Breaks > 0 && now >= w.Breaks {
			fresh.Release, w.Breaks = newServer(w.New, rng).Release, 0
		}
		rate, a, b := w.Rate, old.Release, fresh.Release
		if w.Change != nil {
			c := w.Change(phase + now)
			rate *= c.Rate
			old.Failing, fresh.Failing = a.Failing*c.Failing, b.Failing*c.Failing
			old.Slower, fresh.Slower = a.Slower*c.Slower, b.Slower*c.Slower
		}
		share := f.Share() / 100
		if all != nil {
			all.serve(rng, poisson(rng, rate), share, now, old, fresh, w.Latency)
			a, b := all.samples(old, fresh)
			trial.Observe(a, b, start.Add(now+time.Second))
			continue
		}
		old.serve(rng, poisson(rng, rate*(1-share)), w.Latency, now, old.Release, margins, slow)
		fresh.serve(rng, poisson(rng, rate*share), w.Latency, now, old.Release, margins, slow)
		old.Release, fresh.Release = a, b
		trial.Observe(old.did, fresh.did, start.Add(now+time.Second))
	}
	return Result{traffic.Hold, "", limit, fresh.did.Started, fresh.harmed}
}

// slowFrom is the time from which an answer is slow: the 99th percentile and the margin.
func slowFrom(rng *rand.Rand, latency Latency, m traffic.Margins) time.Duration {
	s := newServer(Release{}, rng)
	s.serve(rng, 20_000, latency, 0, Release{}, m, 0)
	sum := uint64(0)
	for i, n := range s.did.Counts {
		if sum += n; float64(sum) >= .99*20_000 {
			return m.After(bounds[i])
		}
	}
	return 0
}
