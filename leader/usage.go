package leader

import (
	"context"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/traffic"
)

// measureEvery is how often it is asked what the instances of a cross-fade use.
const measureEvery = 5 * time.Second

// consumption is what the instances of a release have used since a comparison began.
type consumption struct {
	before map[cloud.InstanceID]time.Duration // processor time when it was asked last
	total  traffic.Resources
}

// measure asks what the instances of all cross-fades use.
func (c *Crossfades) measure(ctx context.Context, v cloud.View) {
	type turn struct {
		at   route
		fade *cloud.Crossfade
	}
	var turns []turn
	now := c.Now()
	c.mu.Lock()
	for at, p := range c.pairs {
		if begun(p.fade) && now.Sub(p.measured) >= measureEvery {
			p.measured = now
			turns = append(turns, turn{at, p.fade})
		}
	}
	c.mu.Unlock()
	for _, t := range turns {
		old, fresh := c.usages(ctx, v, t.fade.From), c.usages(ctx, v, t.fade.To)
		c.mu.Lock()
		if p := c.pairs[t.at]; p != nil && sameTrial(p.fade, t.fade) {
			p.trial.Use(p.old.add(old, p.trial.Used.Old), p.fresh.add(fresh, p.trial.Used.New), now)
		}
		c.mu.Unlock()
	}
}

// usages asks what a release's ready instances use.
func (c *Crossfades) usages(ctx context.Context, v cloud.View, r cloud.ReleaseRef) map[cloud.InstanceID]Usage {
	used := map[cloud.InstanceID]Usage{}
	for _, i := range v.Pool(r) {
		if u, err := c.Usages.Usage(ctx, i.ID); err == nil { // one that has just ended has no figures
			used[i.ID] = u
		}
	}
	return used
}

// add returns the release's resources with what its instances have used since the last time. before is what an earlier
// leader knew.
func (s *consumption) add(used map[cloud.InstanceID]Usage, before traffic.Resources) traffic.Resources {
	first := s.before == nil
	if first {
		s.before, s.total.CPU = map[cloud.InstanceID]time.Duration{}, before.CPU
	}
	s.total.Memory, s.total.Limit = 0, 0
	for id, u := range used {
		if was, known := s.before[id]; known || !first {
			s.total.CPU += max(0, u.CPU-was) // an instance that is new has used it all since then
		}
		s.before[id] = u.CPU
		if s.total.Limit == 0 || float64(u.Memory)/float64(max(u.Limit, 1)) > float64(s.total.Memory)/float64(s.total.Limit) {
			s.total.Memory, s.total.Limit = u.Memory, u.Limit
		}
	}
	for id := range s.before {
		if _, there := used[id]; !there {
			delete(s.before, id)
		}
	}
	return s.total
}

// shareSettles is how long requests that were sent by an earlier weight may be counted after a step.
const shareSettles = 3 * time.Second

// expectedShare is the part of the requests in percent that the new release of a fade must be getting; 0 where nobody can
// say: clients that are kept with their release come in no fixed number, an instance that is missing leaves its share to
// others.
func expectedShare(v cloud.View, at route, f *cloud.Crossfade, now time.Time) float64 {
	r, ok := findRoute(v.State, at)
	if !ok || r.Sticky != nil || !begun(f) || f.Step == 0 || now.Sub(f.Since) < shareSettles {
		return 0
	}
	if ready := traffic.Inspect(v, f, now); !ready.Up || !ready.Back {
		return 0
	}
	return f.Share()
}

// findRoute returns a route of the state.
func findRoute(s *cloud.State, at route) (*cloud.Route, bool) {
	vhost, ok := s.VirtualHost(at.host)
	if !ok {
		return nil, false
	}
	return vhost.Route(at.path)
}
