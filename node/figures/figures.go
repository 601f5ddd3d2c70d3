package figures

import (
	"context"
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

// Config has the sources of the figures.
type Config struct {
	Counted *router.Figures
	Router  interface{ Stats() router.Stats }
	Views   interface{ View() cloud.View }
	Usage   Usage
	Judge   Judge
	Started time.Time // when counting began
	Now     func() time.Time
}

// Figures presents the router's counts.
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
	both.Go(func() error { return f.recent.run(ctx, f.Counted) })
	both.Go(func() error { return f.forget(ctx) })
	return both.Wait()
}

// Figures implements the API's handler.Requests.
func (f *Figures) Figures() (list []api.ReleaseFigures) {
	inFlight := f.Router.Stats().InFlight
	for _, s := range f.Counted.All() {
		if s.Release.N == 0 {
			continue
		}
		requests, errors, latency := s.Requests.Load(), s.Errors.Load(), s.Latency.Snapshot()
		p50, p95, p99 := latency.Quantiles()
		list = append(list, api.ReleaseFigures{
			Group: s.Release.Group, App: s.Release.App, Release: s.Release.N, Since: f.Started.UTC(), Requests: requests, Errors: errors,
			InFlight: inFlight[s.Release], P50: milliseconds(p50), P95: milliseconds(p95), P99: milliseconds(p99),
			Minute: f.recent.lastMinute(seriesName{release: s.Release}, requests, errors, latency, f.Now()),
		})
	}
	return list
}

// OfInstances implements the API's handler.Requests.
func (f *Figures) OfInstances() map[cloud.InstanceID]handler.InstanceRequests {
	all := map[cloud.InstanceID]handler.InstanceRequests{}
	for id, s := range f.Router.Stats().Instances {
		all[id] = handler.InstanceRequests{Total: s.Requests, InFlight: s.InFlight}
	}
	return all
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
		f.Counted.Forget(func(r cloud.ReleaseRef) bool { return exists(state, r) }, func(host, path string) bool {
			vhost, ok := state.VirtualHost(cloud.Host(host))
			if ok {
				_, ok = vhost.Route(path)
			}
			return ok
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
