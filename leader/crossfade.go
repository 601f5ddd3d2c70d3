package leader

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/traffic"
)

// Counts says what a release did on a route so far, each instance's warm-up left out.
type Counts interface {
	Sample(host cloud.Host, path string, release cloud.ReleaseRef) traffic.Sample
}

// CrossfadeConfig is what Crossfades stands on.
type CrossfadeConfig struct {
	Views  Views
	Writer Writer
	Counts Counts
	Events Events
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
}

// route names a route.
type route struct {
	host cloud.Host
	path string
}

// pair is two releases that are compared: the present step of a cross-fade, or two targets since they have
// the weights that they have. Their shares do not change meanwhile, so neither does who is compared with whom.
type pair struct {
	fade   *cloud.Crossfade
	course *traffic.Course
	told   map[string]bool // what events have said of the step
}

// NewCrossfades returns the duty; no cross-fade is moved until it runs.
func NewCrossfades(cfg CrossfadeConfig) *Crossfades {
	return &Crossfades{CrossfadeConfig: cfg, pairs: map[route]*pair{}}
}

// Name implements Duty.
func (*Crossfades) Name() string { return "cross-fades" }

const (
	// judgeEvery is how often a cross-fade is judged.
	judgeEvery = time.Second
	// renewEvery is how often the later comparisons of targets that nobody fades are looked after.
	renewEvery = 15 * time.Second
)

// Run implements Duty.
func (c *Crossfades) Run(ctx context.Context) error {
	old := cloud.View{}
	view := c.Views.View()
	for {
		c.follow(old, view)
		wait := c.renew()
		c.move(ctx, view)
		next, err := changedWithin(ctx, c.Views, view, wait)
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
		if p := c.pairs[at]; p != nil && sameStep(p.fade, fade) {
			p.fade = fade
			continue
		}
		from, to := c.samples(at, fade)
		c.pairs[at] = &pair{fade: fade, course: traffic.Begin(from, to, c.Now()), told: map[string]bool{}}
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

// begun says whether somebody began the fade: other pairs are compared and no more.
func begun(f *cloud.Crossfade) bool { return !f.Started.IsZero() }

// sameStep says whether what was counted for a may be compared together with what is counted for b.
func sameStep(a, b *cloud.Crossfade) bool {
	return a.Step == b.Step && a.From == b.From && a.To == b.To && a.Started.Equal(b.Started) && slices.Equal(a.Before, b.Before)
}

// renew keeps the later comparisons of all pairs up to date, and returns how long that holds.
func (c *Crossfades) renew() (wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait = never
	for at, p := range c.pairs {
		from, to := c.samples(at, p.fade)
		p.course.Renew(from, to, c.Now())
		if begun(p.fade) {
			wait = judgeEvery
		} else {
			wait = min(wait, renewEvery)
		}
	}
	return wait
}

func (c *Crossfades) samples(at route, f *cloud.Crossfade) (from, to traffic.Sample) {
	return c.Counts.Sample(at.host, at.path, f.From), c.Counts.Sample(at.host, at.path, f.To)
}

// Judgement is what two releases of a route did at the same time, and what comes of it.
type Judgement struct {
	Fade     *cloud.Crossfade
	Whole    traffic.Stretch // since the step began
	Verdict  traffic.Verdict
	Findings []traffic.Finding
	Decision traffic.Decision
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
	return c.judge(v, at, p), true
}

// judge compares the releases of a pair. mu is held.
func (c *Crossfades) judge(v cloud.View, at route, p *pair) Judgement {
	windows := p.course.Windows(c.samples(at, p.fade))
	now := c.Now()
	j := Judgement{Fade: p.fade, Whole: windows[0]}
	j.Verdict, j.Findings = traffic.JudgeStep(p.fade, windows, now)
	j.Decision = traffic.Next(p.fade, traffic.Stand(v, p.fade, now), j.Verdict, j.Findings, now)
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
			all[at] = c.judge(v, at, p)
		}
	}
	return all
}

// carryOut writes a decision, unless the cross-fade is no longer at the step that was judged.
func (c *Crossfades) carryOut(ctx context.Context, at route, j Judgement) error {
	stamp := cloud.Stamp{At: c.Now(), By: "micro", Why: j.Decision.Why}
	fade, object := j.Fade, string(at.host)+at.path
	switch j.Decision.Move {
	case traffic.Advance:
		c.Log.Info("cross-fade steps", "host", string(at.host), "path", at.path, "step", fade.Step+1, "reason", j.Decision.Why)
		return c.Writer.Write(ctx, "crossfade-step", object, func(s *cloud.State) ([]cloud.Change, error) {
			return s.StepCrossfade(at.host, at.path, fade, stamp.At.Add(c.Warm), stamp), nil
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
			return s.AbortCrossfade(at.host, at.path, j.Decision.Why, stamp)
		})
	case traffic.Stay, traffic.Hold:
	}
	return nil
}
