package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/traffic"
)

// fader moves cross-fades on: it asks traffic.Next, and writes what that decides.
type fader struct {
	*Node

	mu      sync.Mutex
	windows map[routeName]*window
}

type routeName struct {
	host cloud.Host
	path string
}

// window is the time in which the two releases of a fade are compared: its present step, or what of it
// this process has seen. Its share does not change, so neither does who is compared with whom.
type window struct {
	fade       *cloud.Crossfade
	since      time.Time
	old, fresh router.Counts // by the window's begin
	decision   traffic.Decision
	verdict    traffic.Verdict
	findings   []traffic.Finding
	judged     [2]traffic.Sample
}

func newFader(n *Node) *fader { return &fader{Node: n, windows: map[routeName]*window{}} }

// run looks after all cross-fades until ctx ends.
func (f *fader) run(ctx context.Context) error {
	view := f.board.View()
	for {
		fading := f.all(ctx, view)
		wait := 24 * time.Hour // nothing to judge: the next change will tell
		if fading {
			wait = time.Second
		}
		waiting, cancel := context.WithTimeout(ctx, wait)
		next, err := f.board.Changed(waiting, view)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			view = next
		}
	}
}

// all moves every fade on, and says whether there is any.
func (f *fader) all(ctx context.Context, v cloud.View) (any bool) {
	seen := map[routeName]bool{}
	for site := range v.State.Sites() {
		for _, r := range site.Routes {
			if r.Crossfade == nil {
				continue
			}
			name := routeName{site.Host, r.Path}
			seen[name], any = true, true
			if err := f.one(ctx, v, name, r.Crossfade); err != nil {
				f.log.Error("cannot move a cross-fade on", "host", string(site.Host), "path", r.Path, "err", err)
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.windows {
		if !seen[name] {
			delete(f.windows, name)
		}
	}
	return any
}

func (f *fader) one(ctx context.Context, v cloud.View, name routeName, fade *cloud.Crossfade) error {
	d := f.judge(v, name, fade)
	at := cloud.Stamp{At: now(), By: "micro"}
	object := string(name.host) + name.path
	switch d.Move {
	case traffic.Advance:
		f.log.Info("cross-fade steps", "host", string(name.host), "path", name.path, "step", fade.Step+1, "reason", d.Why)
		return writer{f.store}.Write(ctx, "crossfade-step", object, func(s *cloud.State) ([]cloud.Change, error) {
			return s.StepCrossfade(name.host, name.path, fade.Step, at.At.Add(runtime.DefaultWarm), at), nil
		})
	case traffic.Abort:
		f.log.Warn("cross-fade goes back", "host", string(name.host), "path", name.path, "reason", d.Why)
		return writer{f.store}.Write(ctx, "crossfade-abort", object, func(s *cloud.State) ([]cloud.Change, error) {
			site, ok := s.Site(name.host)
			if !ok {
				return nil, nil
			}
			if r, ok := site.Route(name.path); !ok || r.Crossfade == nil || r.Crossfade.Step != fade.Step || r.Crossfade.To != fade.To {
				return nil, nil // somebody was faster
			}
			return s.AbortCrossfade(name.host, name.path, d.Why, at)
		})
	case traffic.Stay, traffic.Hold:
	}
	return nil
}

// judge compares the releases of a fade in its window, and keeps the judgement for whoever asks.
func (f *fader) judge(v cloud.View, name routeName, fade *cloud.Crossfade) traffic.Decision {
	old, fresh := f.counts(name, fade.From), f.counts(name, fade.To)
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.windows[name]
	if w == nil || w.fade.Step != fade.Step || w.fade.To != fade.To || !w.fade.Started.Equal(fade.Started) {
		w = &window{since: now(), old: old, fresh: fresh}
		f.windows[name] = w
	}
	w.fade = fade
	w.judged = [2]traffic.Sample{sample(old.Since(w.old)), sample(fresh.Since(w.fresh))}
	w.verdict, w.findings = traffic.JudgeStep(fade, w.judged[0], w.judged[1])
	up, alive := standing(v, fade.To)
	w.decision = traffic.Next(fade, up, alive, w.verdict, w.findings, now())
	return w.decision
}

// standing says whether all web instances of a release are ready, and whether it runs at all.
func standing(v cloud.View, r cloud.ReleaseRef) (up, alive bool) {
	rel, ok := v.State.Release(r)
	if !ok || !v.State.Runs(rel) {
		return false, false
	}
	ready := 0
	for range v.Pool(rel.ReleaseRef) {
		ready++
	}
	return ready >= max(1, rel.Formation[cloud.Web].Instances), true
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

// sample is what a verdict is made from.
func sample(c router.Counts) traffic.Sample {
	bounds, counts := c.Latency.Buckets()
	return traffic.Sample{Requests: c.Requests, Errors: c.Errors, Bounds: bounds, Counts: counts}
}
