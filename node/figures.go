package node

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud"
)

// Figures implements the API's handler.Requests.
func (n *Node) Figures() (list []api.ReleaseFigures) {
	inFlight := n.router.Stats().InFlight
	for _, s := range n.figures.All() {
		if s.App == "" || s.Release == "" {
			continue
		}
		ref := releaseOf(s.App, s.Release)
		p50, p95, p99 := s.Latency.Snapshot().Quantiles()
		list = append(list, api.ReleaseFigures{
			Group: ref.Group, App: ref.App, Release: ref.N, Since: n.started.UTC(), Requests: s.Requests.Load(), Errors: s.Errors.Load(),
			InFlight: inFlight[s.App+"@"+s.Release], P50: milliseconds(p50), P95: milliseconds(p95), P99: milliseconds(p99),
		})
	}
	return list
}

// OfInstances implements the API's handler.Requests.
func (n *Node) OfInstances() map[cloud.InstanceID]handler.InstanceRequests {
	all := map[cloud.InstanceID]handler.InstanceRequests{}
	for id, s := range n.router.Stats().Instances {
		all[cloud.InstanceID(id)] = handler.InstanceRequests{Total: s.Requests, InFlight: s.InFlight}
	}
	return all
}

// forgetEvery is how often figures are dropped that nobody will ask for.
const forgetEvery = time.Minute

// forget drops the figures of releases and hosts that are no more, so that what is counted is bounded by
// what there is.
func (n *Node) forget(ctx context.Context) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		state := n.store.State()
		n.figures.Forget(func(app, release string) bool { return known(state, app, release) }, func(host, path string) bool {
			vhost, ok := state.VirtualHost(cloud.Host(host))
			if ok {
				_, ok = vhost.Route(path)
			}
			return ok
		})
	}
}

// known says whether there is a release of the names that the router uses. Requests that no app or no
// release was found for are counted too.
func known(s *cloud.State, app, release string) bool {
	if app == "" {
		return true
	}
	_, ok := s.App(appRef(app))
	if number, named := strings.CutPrefix(release, "r"); named && ok {
		n, err := strconv.Atoi(number)
		_, ok = s.Release(appRef(app).Release(n))
		ok = ok && err == nil
	}
	return ok
}
