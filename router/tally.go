package router

import (
	"maps"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/protoduction/micro/cloud"
)

// tallies counts by route and release. It is divided into maps that are copied for each new route, so that readers need no
// lock.
type tallies struct {
	parts [256]atomic.Pointer[map[routeKey]*routeTally]
	mu    sync.Mutex // for adding
}

type routeKey struct{ host, path string }

// routeTally has the tallies of a route's releases, which are few.
type routeTally struct{ releases atomic.Pointer[[]*tally] }

// tally has the counts of a release on a route. Requests whose clients chose the release are counted separately, because
// testers send other requests than users. The latency of an instance's first requests is counted separately, too, but not
// their errors: a cold cache makes requests slow, it does not make them fail.
type tally struct {
	release        cloud.ReleaseRef
	chosen, judged counter
	warming        Histogram
	// started counts the requests that the release was to answer, and ended those of them that wait no more.
	started, ended atomic.Uint64
	clients        atomic.Pointer[clients] // nil unless a cross-fade has compared the release
}

func (t *tally) record(x *Exchange, warming bool) {
	if x.ClientKey != 0 {
		c := t.clients.Load()
		if c == nil || c.begun != x.fading { // each cross-fade counts anew
			t.clients.CompareAndSwap(c, &clients{begun: x.fading})
			c = t.clients.Load()
		}
		if c != nil {
			c.record(x, warming)
		}
	} else if !x.Pinned && t.clients.Load() != nil {
		t.clients.Store(nil)
	}
	switch {
	case x.Pinned:
		t.chosen.record(x, &t.chosen.latency)
	case warming:
		t.judged.record(x, &t.warming)
	default:
		t.judged.record(x, &t.judged.latency)
	}
}

// judgedCounts returns the counts for the verdict.
func (t *tally) judgedCounts() Counts {
	c := t.judged.counts()
	c.Ended = t.ended.Load() // before Started, so that Ended is never larger
	c.Started = t.started.Load()
	c.Clients = t.clients.Load().counts()
	return c
}

// all returns everything that was counted.
func (t *tally) all() Counts {
	sum := t.judged.counts().Merge(t.chosen.counts())
	sum.Latency = sum.Latency.Merge(t.warming.Snapshot())
	return sum
}

type counter struct {
	requests, errors, gone atomic.Uint64
	classes                [6]atomic.Uint64
	sizes                  [SizeBins]atomic.Uint64
	latency, given         Histogram
}

// SizeBins is how many lengths of answers are told apart.
const SizeBins = 33

// record counts an exchange, and the time that its answer took in latency.
func (c *counter) record(x *Exchange, latency *Histogram) {
	c.classes[x.class()].Add(1)
	switch {
	case x.clientGone():
		c.gone.Add(1)
		if x.First == 0 {
			c.given.Add(x.Duration)
		}
	case x.failed():
		c.errors.Add(1)
	}
	if x.timed() {
		latency.Add(x.First)
		if x.Status/100 == 2 {
			c.sizes[min(bits.Len64(uint64(max(x.Out, 0))), SizeBins-1)].Add(1)
		}
	}
	c.requests.Add(1) // last: whoever sees the request counted sees everything of it
}

func (c *counter) counts() Counts {
	out := Counts{Errors: c.errors.Load(), Gone: c.gone.Load(), Latency: c.latency.Snapshot(), Given: c.given.Snapshot()}
	for i := range c.classes {
		out.Classes[i] = c.classes[i].Load()
	}
	for i := range c.sizes {
		out.Sizes[i] = c.sizes[i].Load()
	}
	out.Requests = c.requests.Load() // last, so that there are never more errors than requests
	return out
}

// part returns the map that has the route, if any has.
func (t *tallies) part(k routeKey) *atomic.Pointer[map[routeKey]*routeTally] {
	return &t.parts[byte(mix(fnv(k.host)))]
}

// tallyOf returns the tally of a release on a route, and creates it if there is none.
func (t *tallies) tallyOf(k routeKey, r cloud.ReleaseRef) *tally {
	if found := t.find(k, r); found != nil {
		return found
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if found := t.find(k, r); found != nil {
		return found
	}
	made := &tally{release: r}
	part := t.part(k)
	routes := map[routeKey]*routeTally{}
	if old := part.Load(); old != nil {
		maps.Copy(routes, *old)
	}
	list := []*tally{made}
	if route := routes[k]; route != nil {
		list = append(slices.Clone(*route.releases.Load()), made)
		route.releases.Store(&list)
		return made
	}
	route := new(routeTally)
	route.releases.Store(&list)
	routes[k] = route
	part.Store(&routes)
	return made
}

func (t *tallies) find(k routeKey, r cloud.ReleaseRef) *tally {
	for _, one := range t.list(k) {
		if one.release == r {
			return one
		}
	}
	return nil
}

func (t *tallies) list(k routeKey) []*tally {
	routes := t.part(k).Load()
	if routes == nil {
		return nil
	}
	route := (*routes)[k]
	if route == nil {
		return nil
	}
	return *route.releases.Load()
}

// forget drops the routes and releases that keep says no to.
func (t *tallies) forget(keep func(routeKey, cloud.ReleaseRef) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.parts {
		old := t.parts[i].Load()
		if old == nil {
			continue
		}
		routes := maps.Clone(*old)
		for k, route := range routes {
			list := slices.DeleteFunc(slices.Clone(*route.releases.Load()), func(one *tally) bool { return !keep(k, one.release) })
			route.releases.Store(&list)
			if len(list) == 0 {
				delete(routes, k)
			}
		}
		t.parts[i].Store(&routes)
	}
}

// Counts are requests and what became of them, by some time.
type Counts struct {
	Requests uint64
	// Errors are answers of 5xx, the app's and our own, and those that broke off for the app's fault.
	Errors  uint64
	Gone    uint64    // clients that went away before they had their answer
	Classes [6]uint64 // by the answer's status: 2 is 2xx
	// Started counts the requests that the release was to answer, and Ended those of them whose answer has begun, or
	// that came to nothing. Requests with a long body are in neither: their time is up to the client.
	Started, Ended uint64
	// Sizes are the timed answers with 2xx by the length of their body: Sizes[i] had fewer than 2^i bytes.
	Sizes [SizeBins]uint64
	// Latency has the time until the answer's head was there. Fewer than Requests have one: those that the
	// app did not answer, and upgraded ones, have none.
	Latency Snapshot
	// Given has how long those waited who gave up before the answer's head was there: it would have taken
	// longer still.
	Given Snapshot
	// Clients are the requests by client.
	Clients ClientCounts `json:"clients,omitzero"`
}

// Merge returns the sum of both.
func (c Counts) Merge(o Counts) Counts {
	c.Requests, c.Errors, c.Gone = c.Requests+o.Requests, c.Errors+o.Errors, c.Gone+o.Gone
	c.Started, c.Ended = c.Started+o.Started, c.Ended+o.Ended
	for i, n := range o.Classes {
		c.Classes[i] += n
	}
	for i, n := range o.Sizes {
		c.Sizes[i] += n
	}
	c.Latency, c.Given = c.Latency.Merge(o.Latency), c.Given.Merge(o.Given)
	c.Clients = c.Clients.Merge(o.Clients)
	return c
}

// RouteSeries is what a release did on a route of a mapped host.
type RouteSeries struct {
	Release cloud.ReleaseRef // as in Exchange
	Total   Counts
	Judged  Counts // without requests that chose their release, and without the latency of each instance's first ones
}

// Route returns what was counted on a route so far, by app and release.
func (f *Figures) Route(host, path string) []RouteSeries {
	list := f.byRoute.list(routeKey{host, path})
	out := make([]RouteSeries, 0, len(list))
	for _, t := range list {
		out = append(out, RouteSeries{t.release, t.all(), t.judgedCounts()})
	}
	slices.SortFunc(out, RouteSeries.Compare)
	return out
}

// Compare orders series by app and release number.
func (s RouteSeries) Compare(o RouteSeries) int {
	return CompareReleases(s.Release, o.Release)
}
