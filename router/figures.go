package router

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Figures counts exchanges by release, and for mapped hosts by route and release. It is a Recorder without locks, and
// allocates only for new releases, routes and status codes.
type Figures struct {
	byRelease atomic.Pointer[map[cloud.ReleaseRef]*Series]
	byRoute   tallies
	byMirror  mirrorTallies
	warmup    uint64
	mu        sync.Mutex // for adding
}

var (
	_ Recorder     = (*Figures)(nil)
	_ WaitRecorder = (*Figures)(nil)
)

// Series has a release's counts, which only grow.
type Series struct {
	Release  cloud.ReleaseRef // as in Exchange
	Requests atomic.Uint64
	// Errors counts answers with 5xx, of the app and of micro, and answers that broke off by the app's fault. Clients that
	// left don't count.
	Errors  atomic.Uint64
	Gone    atomic.Uint64 // clients that left
	In, Out atomic.Uint64 // bytes of bodies
	Classes [6]atomic.Uint64
	// Latency has the times until the answer's head, of requests that the app answered, without upgrades.
	Latency Histogram

	codes atomic.Pointer[[]*Codes]
	mu    sync.Mutex // for adding
}

// Codes counts answers of one status to one method.
type Codes struct {
	Method string // "OTHER" for unusual methods, so that clients can't create labels
	Status int
	N      atomic.Uint64
}

// DefaultWarmup is how many first requests of an instance don't count for its latency, because code is compiled and caches
// are filled then.
const DefaultWarmup = 50

// With few requests, an instance is warm after warmTime and warmLeast requests.
const (
	warmTime  = 2 * time.Minute
	warmLeast = 10
)

// warms reports whether the request was one of the first of its instance.
func (f *Figures) warms(x *Exchange) bool {
	return x.Nth-1 < f.warmup && (x.Nth <= warmLeast || x.Age < warmTime) // an Nth of 0 is far above any
}

// NewFigures returns empty Figures. The first warmup requests of each instance don't count for its latency.
func NewFigures(warmup int) *Figures {
	f := &Figures{warmup: uint64(max(warmup, 0))}
	f.byRelease.Store(&map[cloud.ReleaseRef]*Series{})
	return f
}

// Record counts an exchange. Exchanges without a release are counted together.
func (f *Figures) Record(x *Exchange) {
	s := (*f.byRelease.Load())[x.Release]
	if s == nil {
		s = f.add(x.Release)
	}
	s.record(x)
	if x.RouteHost != "" && x.Release.App != "" && !x.isShortage() {
		t := f.byRoute.tallyOf(routeKey{x.RouteHost, x.RoutePath}, x.Release)
		t.record(x, f.warms(x))
	}
}

// Waits implements WaitRecorder. It counts requests of mapped hosts, without those whose client chose the release.
func (f *Figures) Waits(x *Exchange) {
	f.Waited(x)
	if x.RouteHost == "" || x.Release.App == "" || x.Pinned {
		return
	}
	x.waits = f.byRoute.tallyOf(routeKey{x.RouteHost, x.RoutePath}, x.Release)
	x.waits.started.Add(1)
}

// Waited implements WaitRecorder.
func (f *Figures) Waited(x *Exchange) {
	if x.waits != nil {
		x.waits.ended.Add(1)
		x.waits = nil
	}
}

func (f *Figures) add(key cloud.ReleaseRef) *Series {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := *f.byRelease.Load()
	if s := old[key]; s != nil {
		return s
	}
	next := maps.Clone(old)
	s := &Series{Release: key}
	s.codes.Store(new([]*Codes))
	next[key] = s
	f.byRelease.Store(&next)
	return s
}

// Forget removes the counts of releases that don't exist any more, and of hosts that are not mapped any more.
func (f *Figures) Forget(release func(cloud.ReleaseRef) bool, mapped func(host, path string) bool) {
	keep := func(r routeKey, k cloud.ReleaseRef) bool { return mapped(r.host, r.path) && release(k) }
	f.byRoute.forget(keep)
	f.byMirror.forget(keep)
	f.mu.Lock()
	defer f.mu.Unlock()
	next := maps.Clone(*f.byRelease.Load())
	maps.DeleteFunc(next, func(k cloud.ReleaseRef, _ *Series) bool { return !release(k) })
	f.byRelease.Store(&next)
}

// All returns the series by app and release.
func (f *Figures) All() []*Series {
	return slices.SortedFunc(maps.Values(*f.byRelease.Load()), func(a, b *Series) int {
		return CompareReleases(a.Release, b.Release)
	})
}

// Get returns the series of a release; nil if it had no requests.
func (f *Figures) Get(r cloud.ReleaseRef) *Series { return (*f.byRelease.Load())[r] }

// CompareReleases orders releases by app and number.
func CompareReleases(a, b cloud.ReleaseRef) int {
	return cmp.Or(cmp.Compare(a.AppRef.String(), b.AppRef.String()), cmp.Compare(a.N, b.N))
}

func (s *Series) record(x *Exchange) {
	if x.In > 0 {
		s.In.Add(uint64(x.In))
	}
	if x.Out > 0 {
		s.Out.Add(uint64(x.Out))
	}
	s.Classes[x.class()].Add(1)
	s.code(method(x.Method), x.Status).N.Add(1)
	switch {
	case x.clientGone():
		s.Gone.Add(1)
	case x.failed():
		s.Errors.Add(1)
	}
	if x.timed() {
		s.Latency.Add(x.First)
	}
	s.Requests.Add(1) // last: whoever sees the request counted sees everything of it
}

// clientGone reports whether the client left, or stopped reading, before it had its answer.
func (x *Exchange) clientGone() bool {
	return x.Error == faultClientGone.code || x.Error == codeClientTimeout
}

// isShortage reports whether the router itself lacked a resource, which says nothing about the app.
func (x *Exchange) isShortage() bool { return x.Error == faultOverloaded.code }

// failed reports whether the client got no proper answer, and not by its own fault.
func (x *Exchange) failed() bool {
	return !x.clientGone() && !x.isShortage() && (x.class() == 5 || x.Error != "" && x.First > 0)
}

// timed reports whether First is the time that the app took.
func (x *Exchange) timed() bool { return x.First > 0 && !x.Upgraded }

func (s *Series) code(method string, status int) *Codes {
	for _, c := range *s.codes.Load() {
		if c.Status == status && c.Method == method {
			return c
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.codes.Load()
	for _, c := range old {
		if c.Status == status && c.Method == method {
			return c
		}
	}
	c := &Codes{Method: method, Status: status}
	next := append(slices.Clone(old), c)
	s.codes.Store(&next)
	return c
}

// Codes returns the counts by method and status.
func (s *Series) Codes() []*Codes {
	return slices.SortedFunc(slices.Values(*s.codes.Load()), func(a, b *Codes) int {
		return cmp.Or(cmp.Compare(a.Method, b.Method), cmp.Compare(a.Status, b.Status))
	})
}

// Quantiles returns the latencies that 50, 95 and 99 % of the requests did not exceed.
func (s Snapshot) Quantiles() (p50, p95, p99 time.Duration) {
	return s.Quantile(.5), s.Quantile(.95), s.Quantile(.99)
}

func method(b []byte) string {
	switch string(b) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "PATCH":
		return "PATCH"
	case "DELETE":
		return "DELETE"
	case "OPTIONS":
		return "OPTIONS"
	}
	return "OTHER"
}

// Recorders is a list of recorders.
type Recorders []Recorder

// Record calls each recorder.
func (r Recorders) Record(x *Exchange) {
	for _, one := range r {
		one.Record(x)
	}
}
