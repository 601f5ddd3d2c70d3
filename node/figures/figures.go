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

// Usage is what an instance uses.
type Usage interface {
	Stats(ctx context.Context, id cloud.InstanceID) (runtime.Stats, error)
}

// Judge compares the two releases of a route.
type Judge interface {
	Judge(v cloud.View, host cloud.Host, path string) (leader.Judgement, bool)
}

// Config is what figures are made from.
type Config struct {
	Counted *router.Figures
	Router  interface{ Stats() router.Stats }
	Views   interface{ View() cloud.View }
	Usage   Usage
	Judge   Judge
	Started time.Time // when counting began
	Now     func() time.Time
}

// Figures shows what the router counted.
type Figures struct {
	Config
	recent *recent
}

// New returns the figures of a node.
func New(cfg Config) *Figures { return &Figures{cfg, newRecent(cfg.Started)} }

// Run remembers what had been counted a minute ago, and drops the figures of what no longer exists, until ctx ends.
func (f *Figures) Run(ctx context.Context) error {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return f.recent.keep(ctx, f.Counted) })
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
			Minute: f.recent.minute(seriesName{release: s.Release}, requests, errors, latency, f.Now()),
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

// forgetEvery is how often figures are dropped that nobody will ask for.
const forgetEvery = time.Minute

// forget drops the figures of releases and hosts that no longer exist, until ctx ends: what is counted is bounded
// by what exists.
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
		f.Counted.Forget(func(r cloud.ReleaseRef) bool { return known(state, r) }, func(host, path string) bool {
			vhost, ok := state.VirtualHost(cloud.Host(host))
			if ok {
				_, ok = vhost.Route(path)
			}
			return ok
		})
	}
}

// known tells whether a release that the router counted for exists. Requests that no app or no release was found
// for are counted too.
func known(s *cloud.State, r cloud.ReleaseRef) bool {
	if r.App == "" {
		return true
	}
	_, ok := s.App(r.AppRef)
	if ok && r.N != 0 {
		_, ok = s.Release(r)
	}
	return ok
}
