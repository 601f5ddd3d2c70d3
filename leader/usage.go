package leader

import (
	"context"
	"maps"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/traffic"
)

// Usage is what an instance has used since it started, and uses now.
type Usage struct {
	CPU           time.Duration
	Memory, Limit int64  // bytes
	ErrorLines    uint64 // log lines of level error
	// Metrics are the counters that the guards of its release name; one that could not be read is missing.
	Metrics map[string]float64
}

// Usages says what instances use.
type Usages interface {
	Usage(ctx context.Context, id cloud.InstanceID) (Usage, error)
	// Metrics reads counters that an instance exports.
	Metrics(ctx context.Context, i *cloud.Instance, guards []cloud.MetricGuard) map[string]float64
}

// measureEvery is how often it is asked what the instances of a cross-fade use.
const measureEvery = 2 * time.Second

// consumption is what the instances of a release have used since a comparison began.
type consumption struct {
	before   map[cloud.InstanceID]Usage // when it was asked last
	total    traffic.Resources
	requests uint64 // of the release when it was asked last
}

// measure asks what the instances of all cross-fades use. It does not wait for the answers: an instance that hangs must not
// keep others from being judged.
func (c *Crossfades) measure(ctx context.Context, v cloud.View) {
	now := c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for at, p := range c.pairs {
		if !begun(p.fade) || p.measuring || now.Sub(p.measured) < measureEvery {
			continue
		}
		took := now.Sub(p.measured)
		p.measured, p.measuring = now, true
		fade, guards := p.fade, metricGuards(v, p.fade)
		c.measuring.Go(func() {
			old, fresh := c.usages(ctx, v, fade.From, guards), c.usages(ctx, v, fade.To, guards)
			c.mu.Lock()
			defer c.mu.Unlock()
			p.measuring = false
			if c.pairs[at] == p && sameTrial(p.fade, fade) {
				p.trial.Limits(limitsOf(fade, guards))
				c.add(p, old, fresh, took)
			}
		})
	}
}

// add adds to a pair's trial what its instances have used. mu is held.
func (c *Crossfades) add(p *pair, old, fresh map[cloud.InstanceID]Usage, took time.Duration) {
	again := p.old.before != nil
	oldUsed, oldMeters, oldRequests := p.old.add(old, p.trial.Used.Old, c.Counts.Requests(p.fade.From))
	newUsed, newMeters, newRequests := p.fresh.add(fresh, p.trial.Used.New, c.Counts.Requests(p.fade.To))
	p.trial.Use(oldUsed, newUsed, c.Now())
	if again { // the first time there is nothing to compare with
		p.trial.Measure(oldMeters, newMeters, oldRequests, newRequests, len(fresh), took)
	}
}

// usages asks what a release's ready instances use.
func (c *Crossfades) usages(ctx context.Context, v cloud.View, r cloud.ReleaseRef, guards []cloud.MetricGuard) map[cloud.InstanceID]Usage {
	used := map[cloud.InstanceID]Usage{}
	for _, i := range v.Pool(r) {
		u, err := c.Usages.Usage(ctx, i.ID)
		if err != nil {
			continue // it has just ended
		}
		if len(guards) > 0 {
			u.Metrics = c.Usages.Metrics(ctx, i, guards)
		}
		used[i.ID] = u
	}
	return used
}

// add returns the release's resources, and what its instances have counted and answered since the last time. before is
// what an earlier leader knew.
func (s *consumption) add(used map[cloud.InstanceID]Usage, before traffic.Resources, requests uint64) (traffic.Resources, traffic.Meters, uint64) {
	first := s.before == nil
	if first {
		s.total.CPU, s.requests = before.CPU, requests
	}
	s.total.Memory, s.total.Limit = 0, 0
	counted := traffic.Meters{traffic.CPU: 0, traffic.Logs: 0}
	missing := map[traffic.Guard]bool{}
	for id, u := range used {
		was, known := s.before[id]
		if known || !first {
			s.total.CPU += max(0, u.CPU-was.CPU) // an instance that is new has used it all since then
		}
		if known {
			counted[traffic.CPU] += float64(max(0, u.CPU-was.CPU)) / float64(time.Millisecond)
			counted[traffic.Logs] += float64(u.ErrorLines - min(was.ErrorLines, u.ErrorLines))
			for name, n := range was.Metrics {
				now, ok := u.Metrics[name]
				if !ok {
					missing[traffic.Metric(name)] = true
				}
				counted[traffic.Metric(name)] += max(0, now-n)
			}
			for name := range u.Metrics {
				if _, ok := was.Metrics[name]; !ok {
					missing[traffic.Metric(name)] = true // it could not be read the last time
				}
			}
		}
		if s.total.Limit == 0 || float64(u.Memory)/float64(max(u.Limit, 1)) > float64(s.total.Memory)/float64(s.total.Limit) {
			s.total.Memory, s.total.Limit = u.Memory, u.Limit
		}
	}
	maps.DeleteFunc(counted, func(g traffic.Guard, _ float64) bool { return missing[g] })
	answered := requests - min(s.requests, requests)
	s.before, s.requests = used, requests
	return s.total, counted, answered
}

// metricGuards returns the counters that a cross-fade compares: those that its new release names.
func metricGuards(v cloud.View, f *cloud.Crossfade) []cloud.MetricGuard {
	rel, ok := v.State.Release(f.To)
	if !ok || len(f.Guards) == 0 {
		return nil
	}
	return rel.Spec.Guards
}

// guardsOf returns all guards of a cross-fade.
func guardsOf(v cloud.View, f *cloud.Crossfade) (all []traffic.Guard) {
	for _, g := range f.Guards {
		all = append(all, traffic.Guard(g))
	}
	for _, g := range metricGuards(v, f) {
		all = append(all, traffic.Metric(g.Metric))
	}
	return all
}

// limitsOf returns the limits of the amounts that a cross-fade compares.
func limitsOf(f *cloud.Crossfade, metrics []cloud.MetricGuard) (all []traffic.Limit) {
	for _, g := range f.Guards {
		if l, ok := traffic.LimitOf(traffic.Guard(g)); ok {
			all = append(all, l)
		}
	}
	for _, g := range metrics {
		all = append(all, traffic.Limit{Guard: traffic.Metric(g.Metric), By: max(g.Less, g.More), Less: g.Less > 0, Unit: g.Metric})
	}
	return all
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
