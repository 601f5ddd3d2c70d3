package node

import (
	"context"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
)

// Metrics implements the API's handler.Node.
func (n *Node) Metrics(w io.Writer) error {
	e := &exposition{b: make([]byte, 0, 16<<10)}
	n.exposeBuild(e)
	n.exposeHTTP(e)
	n.queries.expose(e)
	n.exposeInstances(e)
	exposeProcess(e, n.started)
	return e.writeTo(w)
}

func (n *Node) exposeBuild(e *exposition) {
	e.family("micro_build_info", "gauge", "What runs; the value is always 1.")
	e.sample("micro_build_info", 1, "version", n.cfg.Version.Version, "go", n.cfg.Version.Go)
}

// exposeHTTP writes what the router did. Requests that no route was found for have empty labels.
func (n *Node) exposeHTTP(e *exposition) {
	all := n.figures.All()
	e.family("micro_http_requests_total", "counter", "Requests by the release that they went to, 499 where the client went away.")
	for _, s := range all {
		for _, c := range s.Codes() {
			e.sample("micro_http_requests_total", float64(c.N.Load()),
				"app", s.App, "release", s.Release, "code", strconv.Itoa(c.Status), "method", c.Method)
		}
	}
	e.family("micro_http_request_duration_seconds", "histogram", "Time until the head of an app's answer was there.")
	for _, s := range all {
		if s.App != "" {
			e.histogram("micro_http_request_duration_seconds", s.Latency.Snapshot(), "app", s.App, "release", s.Release)
		}
	}
	e.family("micro_http_mirrored_requests_total", "counter", "Copies by the release that they went to, and how their answer was beside the original's.")
	for _, m := range n.figures.AllMirrors() {
		for _, r := range []struct {
			result string
			n      uint64
		}{{"same", m.Answered - m.Differ}, {"differs", m.Differ}, {"failed", m.Failed}, {"dropped", m.Dropped}} {
			e.sample("micro_http_mirrored_requests_total", float64(r.n), "app", m.App, "release", m.Release, "result", r.result)
		}
	}
	stats := n.router.Stats()
	e.family("micro_http_in_flight_requests", "gauge", "Requests and upgraded connections that have not ended.")
	for _, s := range all {
		if s.Release != "" {
			e.sample("micro_http_in_flight_requests", float64(stats.InFlight[s.App+"@"+s.Release]), "app", s.App, "release", s.Release)
		}
	}
	e.gauge("micro_http_connections", "Connections of clients that are open.", float64(stats.Connections))
}

// Figures implements the API's handler.Node.
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

// Requests implements the API's handler.Node.
func (n *Node) Requests() map[cloud.InstanceID]handler.Requests {
	all := map[cloud.InstanceID]handler.Requests{}
	for id, s := range n.router.Stats().Instances {
		all[cloud.InstanceID(id)] = handler.Requests{Total: s.Requests, InFlight: s.InFlight}
	}
	return all
}

func (n *Node) exposeInstances(e *exposition) {
	count := map[cloud.ReleaseRef]map[cloud.InstancePhase]int{}
	var refs []cloud.ReleaseRef // in the order of the view
	for i := range n.snapshots.View().Instances.All() {
		phases, ok := count[i.ReleaseRef]
		if !ok {
			phases = map[cloud.InstancePhase]int{}
			count[i.ReleaseRef] = phases
			refs = append(refs, i.ReleaseRef)
		}
		phases[i.Phase]++
	}
	e.family("micro_instances", "gauge", "Instances by phase.")
	for _, ref := range refs {
		for _, phase := range cloud.InstancePhases() {
			e.sample("micro_instances", float64(count[ref][phase]), "app", ref.AppRef.String(), "release", "r"+strconv.Itoa(ref.N), "phase", string(phase))
		}
	}
}

// queries counts the DNS server's answers.
type queries struct {
	n [maxRcode + 1][maxType + 1]atomic.Uint64
}

// What is counted one by one: rcodes up to BADVERS, and types up to CAA. All above it is counted as the last
// rcode, and as type 0, which is none.
const (
	maxRcode = 16
	maxType  = 257
)

var _ dnsd.Recorder = (*queries)(nil)

// Query implements dnsd.Recorder.
func (q *queries) Query(rcode int, qtype uint16) {
	if qtype > maxType {
		qtype = 0
	}
	q.n[min(max(rcode, 0), maxRcode)][qtype].Add(1)
}

func (q *queries) expose(e *exposition) {
	e.family("micro_dns_queries_total", "counter", "DNS answers by their code and by the type asked for.")
	for rcode := range q.n {
		others := uint64(0)
		for qtype := range q.n[rcode] {
			n := q.n[rcode][qtype].Load()
			switch label := dnsd.TypeLabel(uint16(qtype)); {
			case n == 0:
			case label == "other":
				others += n
			default:
				e.sample("micro_dns_queries_total", float64(n), "rcode", dnsd.RcodeLabel(rcode), "type", label)
			}
		}
		if others > 0 {
			e.sample("micro_dns_queries_total", float64(others), "rcode", dnsd.RcodeLabel(rcode), "type", "other")
		}
	}
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
