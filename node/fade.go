package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/traffic"
)

// fader compares the releases of routes that lead to two, and moves cross-fades on: it asks traffic.Next,
// and writes what that decides.
type fader struct {
	*Node

	mu      sync.Mutex
	pairs   map[routeName]*cloud.Crossfade // of all routes that lead to two releases; see pairOf
	windows map[routeName]*window
}

type routeName struct {
	host cloud.Host
	path string
}

// window is the time in which two releases are compared: the present step of a fade, or since two
// targets have the weights that they have, or what of it this process has seen. Their shares do not
// change, so neither does who is compared with whom.
type window struct {
	fade     *cloud.Crossfade
	course   *traffic.Course
	whole    traffic.Stretch // at the last look
	decision traffic.Decision
	verdict  traffic.Verdict
	findings []traffic.Finding
}

func newFader(n *Node) *fader {
	return &fader{Node: n, pairs: map[routeName]*cloud.Crossfade{}, windows: map[routeName]*window{}}
}

// run looks after all cross-fades until ctx ends.
func (f *fader) run(ctx context.Context) error {
	old := cloud.View{}
	view := f.snapshots.View()
	for {
		f.look(old, view)
		wait := 24 * time.Hour // nothing to judge: the next change will tell
		if f.move(ctx, view) {
			wait = time.Second
		}
		waiting, cancel := context.WithTimeout(ctx, wait)
		next, err := f.snapshots.Changed(waiting, view)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if old = view; err == nil {
			view = next
		}
	}
}

// look notes which routes lead to two releases, as far as that may have changed since old.
func (f *fader) look(old, v cloud.View) {
	_, hosts, ok := v.Touched(old)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !ok {
		clear(f.pairs)
		for vhost := range v.State.VirtualHosts() {
			f.pair(v, vhost)
		}
	}
	for host := range hosts {
		for name := range f.pairs {
			if name.host == host {
				delete(f.pairs, name)
			}
		}
		if vhost, ok := v.State.VirtualHost(host); ok {
			f.pair(v, vhost)
		}
	}
	for name := range f.windows {
		if f.pairs[name] == nil {
			delete(f.windows, name)
		}
	}
}

// pair notes the routes of a vhost that lead to two releases. mu is held.
func (f *fader) pair(v cloud.View, vhost *cloud.VirtualHost) {
	for i := range vhost.Routes {
		if fade := pairOf(v.State, &vhost.Routes[i]); fade != nil {
			name := routeName{vhost.Host, vhost.Routes[i].Path}
			f.pairs[name] = fade
			f.judge(v, name, fade)
		}
	}
}

// pairOf is a route's cross-fade. Two targets without one are compared as if they were one that nobody
// began and that takes no step.
func pairOf(s *cloud.State, r *cloud.Route) *cloud.Crossfade {
	if r.Crossfade != nil || len(r.Targets) != 2 {
		return r.Crossfade
	}
	_, old, err1 := s.MustRelease(r.Targets[0].ReleaseRef)
	_, fresh, err2 := s.MustRelease(r.Targets[1].ReleaseRef)
	if err1 != nil || err2 != nil {
		return nil
	}
	return &cloud.Crossfade{
		From: old.ReleaseRef, To: fresh.ReleaseRef, Steps: []int{100}, Step: 1, Paused: true, Before: r.Targets,
		FadePlan: cloud.FadePlan{
			Guards: []string{string(traffic.Errors), string(traffic.Latency)},
			Errors: traffic.DefaultMargins.Errors, Latency: traffic.DefaultMargins.Latency,
		},
	}
}

// begun says whether somebody began the fade: other pairs are compared and no more.
func begun(f *cloud.Crossfade) bool { return !f.Started.IsZero() }

// move judges every fade that somebody began and moves it on, and says whether there is any.
func (f *fader) move(ctx context.Context, v cloud.View) (any bool) {
	f.mu.Lock()
	fades := map[routeName]*cloud.Crossfade{}
	for name, fade := range f.pairs {
		if begun(fade) {
			fades[name] = fade
		}
	}
	f.mu.Unlock()
	for name, fade := range fades {
		if err := f.one(ctx, v, name, fade); err != nil {
			f.log.Error("cannot move a cross-fade on", "host", string(name.host), "path", name.path, "err", err)
		}
	}
	return len(fades) > 0
}

func (f *fader) one(ctx context.Context, v cloud.View, name routeName, fade *cloud.Crossfade) error {
	f.mu.Lock()
	d := f.judge(v, name, fade)
	f.mu.Unlock()
	at := cloud.Stamp{At: now(), By: "micro"}
	object := string(name.host) + name.path
	switch d.Move {
	case traffic.Advance:
		f.log.Info("cross-fade steps", "host", string(name.host), "path", name.path, "step", fade.Step+1, "reason", d.Why)
		return writer{f.store}.Write(ctx, "crossfade-step", object, func(s *cloud.State) ([]cloud.Change, error) {
			return s.StepCrossfade(name.host, name.path, fade, at.At.Add(runtime.DefaultWarm), at), nil
		})
	case traffic.Abort:
		f.log.Warn("cross-fade goes back", "host", string(name.host), "path", name.path, "reason", d.Why)
		return writer{f.store}.Write(ctx, "crossfade-abort", object, func(s *cloud.State) ([]cloud.Change, error) {
			vhost, ok := s.VirtualHost(name.host)
			if !ok {
				return nil, nil
			}
			if r, ok := vhost.Route(name.path); !ok || !r.Crossfade.Is(fade) {
				return nil, nil // somebody was faster
			}
			return s.AbortCrossfade(name.host, name.path, d.Why, at)
		})
	case traffic.Stay, traffic.Hold:
	}
	return nil
}

// judge compares the releases of a fade in its window, and keeps the judgement for whoever asks. mu is held.
func (f *fader) judge(v cloud.View, name routeName, fade *cloud.Crossfade) traffic.Decision {
	at, old, fresh := now(), sample(f.counts(name, fade.From)), sample(f.counts(name, fade.To))
	w := f.windows[name]
	if w == nil || !sameWindow(w.fade, fade) {
		w = &window{course: traffic.Begin(old, fresh, at)}
		f.windows[name] = w
	}
	w.fade = fade
	course := w.course.Look(old, fresh, at)
	w.whole = course[0]
	w.verdict, w.findings = traffic.JudgeStep(fade, course, at)
	w.decision = traffic.Next(fade, traffic.Stand(v, fade, at), w.verdict, w.findings, at)
	return w.decision
}

// sameWindow says whether what was counted for one may be compared together with what is for the other.
func sameWindow(a, b *cloud.Crossfade) bool {
	return a.Step == b.Step && a.From == b.From && a.To == b.To && a.Started.Equal(b.Started) && slices.Equal(a.Before, b.Before)
}

// counts are what a release did on a route so far, warm-up left out.
func (f *fader) counts(name routeName, r cloud.ReleaseRef) router.Counts {
	app, release := r.AppRef.String(), fmt.Sprintf("r%d", r.N)
	for _, s := range f.figures.Route(string(name.host), name.path) {
		if s.App == app && s.Release == release {
			return s.Judged
		}
	}
	return router.Counts{}
}

// sample is what a verdict is made from. Who gave up got neither an answer nor an error; that it took at
// least so long is known, or a release that hangs would look well.
func sample(c router.Counts) traffic.Sample {
	bounds, counts := c.Latency.Merge(c.Given).Buckets()
	return traffic.Sample{Requests: c.Requests - min(c.Gone, c.Requests), Errors: c.Errors, Bounds: bounds, Counts: counts}
}
