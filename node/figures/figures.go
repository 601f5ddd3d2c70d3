package figures

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime"
)

// Usage returns the resource usage of instances.
type Usage interface {
	Stats(ctx context.Context, id cloud.InstanceID) (runtime.Stats, error)
}

// Judge judges the two releases of a cross-fade.
type Judge interface {
	Judge(v cloud.View, host cloud.Host, path string) (leader.Judgement, bool)
}

// Others asks the other nodes for what only they know now.
type Others interface {
	// Requests calls use with the requests of each other living node's router.
	Requests(ctx context.Context, use func(Requests))
	// Judgement asks the node that leads for its judgement; false if this is the one.
	Judgement(ctx context.Context, host cloud.Host, path string) (step *api.FadeStep, elsewhere bool)
}

// Requests are those that a router has now.
type Requests struct {
	InFlight  []InFlight                                    `json:"in_flight,omitempty"`
	Instances map[cloud.InstanceID]handler.InstanceRequests `json:"instances,omitempty"`
}

// InFlight is how many requests to a release have not ended.
type InFlight struct {
	Release cloud.ReleaseRef `json:"release"`
	Count   int64            `json:"count"`
}

// Config has the sources of the figures.
type Config struct {
	*Totals
	Router interface{ Stats() router.Stats }
	Views  interface{ View() cloud.View }
	Usage  Usage
	Judge  Judge
	// Others are the other nodes.
	Others Others
}

// Figures presents what the routers of all nodes have counted.
type Figures struct {
	Config
	recent *recent
}

// New returns the figures of a node.
func New(cfg Config) *Figures { return &Figures{cfg, newRecent(cfg.Started)} }

// Run records the counts for the last minute, and deletes the counts of releases and hosts that no longer exist,
// until ctx ends.
func (f *Figures) Run(ctx context.Context) error {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return f.recent.run(ctx, f.Totals) })
	both.Go(func() error { return f.forget(ctx) })
	return both.Wait()
}

// Figures implements the API's handler.Requests.
func (f *Figures) Figures(ctx context.Context) (list []api.ReleaseFigures) {
	asked := f.Now()
	f.Refresh(ctx)
	inFlight := map[cloud.ReleaseRef]int64{}
	for _, r := range f.requests(ctx) {
		for _, one := range r.InFlight {
			inFlight[one.Release] += one.Count
		}
	}
	since, missing, lately := f.Since(), f.Missing(asked), f.Recent(router.Place{})
	for release, c := range f.At(router.Place{}) {
		p50, p95, p99 := c.Total.Latency.Quantiles()
		list = append(list, api.ReleaseFigures{
			Group: release.Group, App: release.App, Release: release.N, Since: since, Requests: c.Total.Requests, Errors: c.Total.Errors,
			InFlight: inFlight[release], P50: milliseconds(p50), P95: milliseconds(p95), P99: milliseconds(p99),
			Minute: f.recent.lastMinute(router.SeriesName{Release: release}, lately[release].Total, f.Now()), Missing: missing,
		})
	}
	slices.SortFunc(list, func(a, b api.ReleaseFigures) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.App, b.App), cmp.Compare(a.Release, b.Release))
	})
	return list
}

// OfInstances implements the API's handler.Requests.
func (f *Figures) OfInstances(ctx context.Context) map[cloud.InstanceID]handler.InstanceRequests {
	all := map[cloud.InstanceID]handler.InstanceRequests{}
	for _, r := range f.requests(ctx) {
		for id, n := range r.Instances {
			sum := all[id]
			all[id] = handler.InstanceRequests{Total: sum.Total + n.Total, InFlight: sum.InFlight + n.InFlight}
		}
	}
	return all
}

// requests returns the requests of each living node's router.
func (f *Figures) requests(ctx context.Context) []Requests {
	var mu sync.Mutex
	all := []Requests{f.OwnRequests()}
	f.Others.Requests(ctx, func(r Requests) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, r)
	})
	return all
}

// OwnRequests returns the requests of this node's router.
func (f *Figures) OwnRequests() Requests {
	stats := f.Router.Stats()
	r := Requests{Instances: make(map[cloud.InstanceID]handler.InstanceRequests, len(stats.Instances))}
	for release, n := range stats.InFlight {
		r.InFlight = append(r.InFlight, InFlight{release, n})
	}
	for id, s := range stats.Instances {
		r.Instances[id] = handler.InstanceRequests{Total: s.Requests, InFlight: s.InFlight}
	}
	return r
}

// forgetEvery is how often forget deletes counts.
const forgetEvery = time.Minute

// forget deletes the counts of releases and hosts that no longer exist, until ctx ends, so that their number is
// limited.
func (f *Figures) forget(ctx context.Context) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		state := f.Views.View().State
		mapped := func(host, path string) bool {
			vhost, ok := state.VirtualHost(cloud.Host(host))
			if ok {
				_, ok = vhost.Route(path)
			}
			return ok
		}
		release := func(r cloud.ReleaseRef) bool { return exists(state, r) }
		f.Counted.Forget(release, mapped)
		f.Totals.forget(func(name router.SeriesName) bool {
			return release(name.Release) && (name.Host == "" || mapped(name.Host, name.Path))
		})
	}
}

// exists reports whether the release of a count still exists. A count may also have no release or no app, for
// requests for which none was found.
func exists(s *cloud.State, r cloud.ReleaseRef) bool {
	if r.App == "" {
		return true
	}
	_, ok := s.App(r.AppRef)
	if ok && r.N != 0 {
		_, ok = s.Release(r)
	}
	return ok
}
