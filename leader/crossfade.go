package leader

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/traffic"
)

// Counts says what a release did on a route so far.
type Counts interface {
	Sample(host cloud.Host, path string, release cloud.ReleaseRef) traffic.Sample
	// Requests returns how many requests a release got so far, on all routes.
	Requests(release cloud.ReleaseRef) uint64
}

// CrossfadeConfig is what Crossfades stands on.
type CrossfadeConfig struct {
	Views  Views
	Writer Writer
	Counts Counts
	Usages Usages
	Events Events
	Notes  Notes
	Log    *slog.Logger
	// Warm is how long a release runs on after a cross-fade has replaced it.
	Warm time.Duration
	Now  func() time.Time
}

// Crossfades compares the two releases of each route that has two, and moves cross-fades on: it writes what
// traffic.Next decides.
type Crossfades struct {
	CrossfadeConfig

	mu    sync.Mutex
	pairs map[route]*pair
	saved map[route]record // trials of earlier leaders, and which ones this leader has saved

	measuring sync.WaitGroup
}

// NewCrossfades returns the duty; no cross-fade is moved until it runs.
func NewCrossfades(cfg CrossfadeConfig) *Crossfades {
	return &Crossfades{CrossfadeConfig: cfg, pairs: map[route]*pair{}, saved: map[route]record{}}
}

// Name implements Duty.
func (*Crossfades) Name() string { return "cross-fades" }

const (
	// judgeEvery is how often a cross-fade is judged.
	judgeEvery = time.Second
	// forecastEvery is how often it is foreseen how a cross-fade goes on.
	forecastEvery = 15 * time.Second
	// observeEvery is how often targets that nobody fades are compared.
	observeEvery = 5 * time.Second
)

// Run implements Duty.
func (c *Crossfades) Run(ctx context.Context) error {
	c.loadTrials()
	defer c.saveTrials(true)
	defer c.measuring.Wait()
	old := cloud.View{}
	view := c.Views.View()
	for {
		c.follow(old, view)
		wait := c.observe(view)
		c.measure(ctx, view)
		c.move(ctx, view)
		c.saveTrials(false)
		next, err := cloud.ChangedWithin(ctx, c.Views, view, wait)
		if err != nil {
			return nil
		}
		old, view = view, next
	}
}

// follow notes which routes have two releases, as far as that may have changed since old.
func (c *Crossfades) follow(old, v cloud.View) {
	_, hosts, ok := v.Touched(old)
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[route]bool{}
	if !ok {
		for vhost := range v.State.VirtualHosts() {
			c.followHost(v, vhost, seen)
		}
	}
	for host := range hosts {
		if vhost, ok := v.State.VirtualHost(host); ok {
			c.followHost(v, vhost, seen)
		}
	}
	for at := range c.pairs {
		if (!ok || hosts[at.host]) && !seen[at] {
			delete(c.pairs, at)
		}
	}
}

// followHost notes the routes of a host that have two releases. mu is held.
func (c *Crossfades) followHost(v cloud.View, vhost *cloud.VirtualHost, seen map[route]bool) {
	for i := range vhost.Routes {
		fade := fadeOf(v.State, &vhost.Routes[i])
		if fade == nil {
			continue
		}
		at := route{vhost.Host, vhost.Routes[i].Path}
		seen[at] = true
		if p := c.pairs[at]; p != nil && sameTrial(p.fade, fade) {
			p.at, p.fade = at, fade
			continue
		}
		c.pairs[at] = c.begin(at, fade)
		c.pairs[at].at = at
	}
}

// fadeOf returns a route's cross-fade. Two targets without one are compared as if they were one that nobody
// began and that takes no step.
func fadeOf(s *cloud.State, r *cloud.Route) *cloud.Crossfade {
	if r.Crossfade != nil || len(r.Targets) != 2 {
		return r.Crossfade
	}
	_, from, err1 := s.MustRelease(r.Targets[0].ReleaseRef)
	_, to, err2 := s.MustRelease(r.Targets[1].ReleaseRef)
	if err1 != nil || err2 != nil {
		return nil
	}
	return &cloud.Crossfade{
		From: from.ReleaseRef, To: to.ReleaseRef, Steps: []int{100}, Step: 1, Paused: true, Before: r.Targets,
		FadePlan: cloud.FadePlan{
			Guards: []string{string(traffic.Errors), string(traffic.Latency)},
			Errors: traffic.DefaultMargins.Errors, Latency: traffic.DefaultMargins.Latency,
		},
	}
}

// observe adds what has been counted since the last time to all trials whose turn it is, and returns how long
// until the next.
func (c *Crossfades) observe(v cloud.View) (wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait = cloud.Never
	now := c.Now()
	for at, p := range c.pairs {
		every := observeEvery
		if begun(p.fade) {
			every = judgeEvery
		}
		if p.trial.Since(now) >= every {
			old, fresh := c.samples(at, p.fade)
			p.trial.Share(expectedShare(v, at, p.fade, now))
			p.trial.Observe(old, fresh, now)
			p.step.follow(p.fade, old, fresh, now)
		}
		wait = min(wait, every)
	}
	return wait
}

// samples returns what both releases of a fade did so far, by requests or by clients.
func (c *Crossfades) samples(at route, f *cloud.Crossfade) (from, to traffic.Sample) {
	from, to = c.Counts.Sample(at.host, at.path, f.From), c.Counts.Sample(at.host, at.path, f.To)
	if f.Unit == cloud.UnitClient {
		return from.ByClient(), to.ByClient()
	}
	return from, to
}

// Judgement is what two releases of a route did at the same time, and what comes of it.
type Judgement struct {
	traffic.Judgement
	Fade     *cloud.Crossfade
	Began    time.Time // when the comparison began
	Old, New traffic.Tally
	Rate     float64  // requests a second of the host
	Step     struct { // what both did in the present step
		Since    time.Time
		Old, New traffic.Summary
		// OldCrashes and NewCrashes are how often their instances ended by themselves, ever.
		OldCrashes, NewCrashes int
	}
	// OldCPU and NewCPU are how much processor time a request took; 0 is not known.
	OldCPU, NewCPU time.Duration
	Used           struct{ Old, New traffic.Resources }
	Decision       traffic.Decision
	traffic.Forecast
}

// Judge returns the present judgement of a route's two releases; false where it has not two. It changes
// nothing: who reads a comparison has no part in what becomes of it.
func (c *Crossfades) Judge(v cloud.View, host cloud.Host, path string) (Judgement, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := route{host, path}
	p := c.pairs[at]
	if p == nil {
		return Judgement{}, false
	}
	return c.judge(v, p), true
}

// judge compares the releases of a pair. mu is held.
func (c *Crossfades) judge(v cloud.View, p *pair) Judgement {
	now := c.Now()
	guards := guardsOf(v, p.fade)
	j := Judgement{
		Judgement: p.trial.Judge(guards), Fade: p.fade, Began: p.trial.Began,
		Old: p.trial.Totals.Old, New: p.trial.Totals.New, Rate: p.trial.Rate(),
	}
	c.summarize(v, p, &j)
	j.OldCPU, j.NewCPU = p.trial.PerRequest()
	j.Used.Old, j.Used.New = p.trial.Used.Old, p.trial.Used.New
	j.Decision = traffic.Next(p.fade, traffic.Inspect(v, p.fade, now), j.Judgement, j.Rate, now)
	if begun(p.fade) && now.Sub(p.foreseen) >= forecastEvery && j.Rate > 0 {
		p.forecast, p.foreseen = p.trial.Forecast(p.fade, guards, j.Rate, now), now
	}
	j.Forecast = p.forecast
	return j
}

// move judges all cross-fades and writes what is decided.
func (c *Crossfades) move(ctx context.Context, v cloud.View) {
	for at, j := range c.judgements(v) {
		c.tell(at, j)
		if err := c.carryOut(ctx, at, j); err != nil {
			c.Log.Error("cannot move a cross-fade on", "host", string(at.host), "path", at.path, "err", err)
		}
	}
}

// judgements returns those of all cross-fades that somebody began.
func (c *Crossfades) judgements(v cloud.View) map[route]Judgement {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[route]Judgement{}
	for at, p := range c.pairs {
		if begun(p.fade) {
			all[at] = c.judge(v, p)
		}
	}
	return all
}

// carryOut writes a decision, unless the cross-fade is no longer at the step that was judged.
func (c *Crossfades) carryOut(ctx context.Context, at route, j Judgement) error {
	stamp := cloud.Stamp{At: c.Now(), By: "micro", Why: j.Decision.Why}
	fade, object, figures := j.Fade, string(at.host)+at.path, j.Figures()
	if why, ok := fade.Expired(stamp.At); ok {
		j.Decision = traffic.Decision{Move: traffic.Abort, Why: why}
		stamp.Why = why
	}
	switch j.Decision.Move {
	case traffic.Advance:
		c.Log.Info("cross-fade steps", "host", string(at.host), "path", at.path, "percent", j.Decision.Share, "reason", j.Decision.Why)
		return c.Writer.Write(ctx, "crossfade-step", object, func(s *cloud.State) ([]cloud.Change, error) {
			return s.StepCrossfade(at.host, at.path, fade, j.Decision.Share, stamp.At.Add(c.Warm), figures, stamp), nil
		})
	case traffic.Abort:
		c.Log.Warn("cross-fade goes back", "host", string(at.host), "path", at.path, "reason", j.Decision.Why)
		return c.Writer.Write(ctx, "crossfade-abort", object, func(s *cloud.State) ([]cloud.Change, error) {
			vhost, ok := s.VirtualHost(at.host)
			if !ok {
				return nil, nil
			}
			if r, ok := vhost.Route(at.path); !ok || !r.Crossfade.Is(fade) {
				return nil, nil // somebody was faster
			}
			return s.AbortCrossfade(at.host, at.path, j.Decision.Why, figures, stamp)
		})
	case traffic.Stay, traffic.Hold:
	}
	return nil
}
