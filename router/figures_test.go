package router

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

func TestBuckets(t *testing.T) {
	next := uint64(0)
	for i := range buckets {
		from, to := bounds(i)
		if from != next || bucket(from) != i || bucket(to-1) != i {
			t.Fatalf("bucket %d is [%d, %d), %d is in %d", i, from, to, from, bucket(from))
		}
		if width := to - from; from >= linear && float64(width)/2/float64(from) > 0.0157 {
			t.Fatalf("bucket %d is %.1f %% off", i, 100*float64(width)/2/float64(from))
		}
		next = to
	}
	if bucket(1<<62) != buckets-1 {
		t.Error("a very long time has no bucket")
	}
}

func TestQuantile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h, other Histogram
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(rng.ExpFloat64() * float64(20*time.Millisecond))
		all = append(all, d)
		if i%2 == 0 {
			h.Add(d)
		} else {
			other.Add(d)
		}
	}
	slices.Sort(all)
	s := h.Snapshot().Merge(other.Snapshot())
	for _, q := range []float64{.01, .5, .9, .95, .99, .999} {
		want := all[int(q*float64(len(all)))-1]
		if got := s.Quantile(q); (got - want).Abs() > want/50 {
			t.Errorf("p%g: got %v, want %v", 100*q, got, want)
		}
	}
	var ten Histogram
	for i := range 10 {
		ten.Add(time.Duration(i+1) * 10 * time.Microsecond)
	}
	for q, want := range map[float64]int64{.5: 50, .9: 90, .95: 100, .99: 100, 1: 100} {
		if got := ten.Snapshot().Quantile(q).Microseconds(); got < want-2 || got > want+2 {
			t.Errorf("p%g of ten is %d µs, want %d", 100*q, got, want)
		}
	}
	if n := s.Over(20 * time.Millisecond); n < 7000 || n > 7500 {
		t.Errorf("%d of 20000 over their mean", n)
	}
	if (Snapshot{}).Quantile(.5) != 0 {
		t.Error("of nothing")
	}
}

// TestFigures: what many goroutines record comes out exact.
func TestFigures(t *testing.T) {
	f := NewFigures(DefaultWarmup)
	xs := []*Exchange{
		{Release: ref("shop").Release(1), Method: []byte("GET"), Status: 200, First: time.Millisecond, In: 1, Out: 2},
		{Release: ref("shop").Release(1), Method: []byte("POST"), Status: 500, First: time.Millisecond},
		{Release: ref("shop").Release(2), Method: []byte("BREW"), Status: 502, Error: "endpoint_failure"},
		{Release: ref("shop").Release(2), Method: []byte("GET"), Status: 200, First: 1, Error: "endpoint_broke_off"},
		{Release: ref("shop").Release(2), Method: []byte("GET"), Status: 499, Error: "client_gone"},
		{Status: 404, Method: []byte("GET"), Error: "unknown_route"},
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 6000 {
				f.Record(xs[i%len(xs)])
			}
		})
	}
	all.Wait()
	const n = 8000
	r1, r2 := f.Get(ref("shop").Release(1)), f.Get(ref("shop").Release(2))
	if r1.Requests.Load() != 2*n || r1.Errors.Load() != n || r1.Latency.Snapshot().Count != 2*n || r1.In.Load() != n || r1.Out.Load() != 2*n || r1.Classes[5].Load() != n {
		t.Errorf("r1: %d requests, %d errors", r1.Requests.Load(), r1.Errors.Load())
	}
	if r2.Requests.Load() != 3*n || r2.Errors.Load() != 2*n || r2.Gone.Load() != n {
		t.Errorf("r2: %d requests, %d errors, %d gone", r2.Requests.Load(), r2.Errors.Load(), r2.Gone.Load())
	}
	if c := r2.Codes(); len(c) != 3 || c[2].Method != "OTHER" || c[2].Status != 502 || c[2].N.Load() != n {
		t.Errorf("codes: %v", c)
	}
	if all := f.All(); len(all) != 3 || all[0].Release.App != "" || all[2].Release.N != 2 {
		t.Errorf("%d series", len(all))
	}
	f.Forget(func(r cloud.ReleaseRef) bool { return r.N == 1 }, nil)
	if len(f.All()) != 1 {
		t.Errorf("%d series after forgetting", len(f.All()))
	}
}

// TestRouteFigures: a route's releases are counted apart, with the latency of each instance's first requests not judged, and their errors judged.
func TestRouteFigures(t *testing.T) {
	f := NewFigures(50)
	record := func(host, path string, release, instances, each int, x Exchange) {
		x.Release, x.RouteHost, x.RoutePath, x.Method = ref("shop").Release(release), host, path, []byte("GET")
		var all sync.WaitGroup
		for range instances {
			all.Go(func() {
				for n := range each {
					x := x
					x.Nth = uint64(n + 1)
					f.Record(&x)
				}
			})
		}
		all.Wait()
	}
	fine := Exchange{Status: 200, First: 3 * time.Millisecond}
	record("www.example.com", "/", 10, 2, 500, fine)
	record("www.example.com", "/", 9, 1, 60, Exchange{Status: 502, Error: "endpoint_failure"})
	record("www.example.com", "/", 9, 1, 70, Exchange{Status: 499, Error: "client_gone", Duration: 7 * time.Second})
	record("www.example.com", "/api", 9, 1, 10, fine)
	record("", "", 9, 1, 10, fine) // an app's own address
	record("www.example.com", "/", 10, 1, 90, Exchange{Status: 500, First: time.Second, Pinned: true})
	f.Record(&Exchange{Release: ref("shop").Release(9), RouteHost: "www.example.com", RoutePath: "/", Status: 503, Error: "no_endpoints"})

	got := f.Route("www.example.com", "/")
	if len(got) != 2 || got[0].Release.N != 9 || got[1].Release.N != 10 {
		t.Fatalf("series: %v", got)
	}
	old, fresh := got[0], got[1]
	if c := fresh.Total; c.Requests != 1090 || c.Errors != 90 || c.Latency.Count != 1090 {
		t.Errorf("r10: %d requests, %d errors, %d timed", c.Requests, c.Errors, c.Latency.Count)
	}
	if c := fresh.Judged; c.Requests != 1000 || c.Latency.Count != 900 || c.Classes[2] != 1000 {
		t.Errorf("r10: %d of 1090 judged, %d timed", c.Requests, c.Latency.Count)
	}
	if c := old.Total; c.Requests != 131 || c.Errors != 61 || c.Gone != 70 || c.Latency.Count != 0 {
		t.Errorf("r9: %d requests, %d errors, %d gone", c.Requests, c.Errors, c.Gone)
	}
	if n := old.Total.Given.Count; n != 70 || old.Total.Given.Quantile(.5).Round(time.Second) != 7*time.Second {
		t.Errorf("r9: %d gave up, after %v", n, old.Total.Given.Quantile(.5))
	}
	if c := old.Judged; c.Requests != 131 || c.Errors != 61 || c.Gone != 70 || c.Classes[5] != 61 {
		t.Errorf("r9: judged %d requests, %d errors, %d gone", c.Requests, c.Errors, c.Gone)
	}
	record("www.example.com", "/", 10, 1, 150, fine)
	later := f.Route("www.example.com", "/")[1]
	ends, counts := later.Total.Latency.Buckets()
	if i := slices.IndexFunc(counts, func(n uint64) bool { return n > 0 }); len(ends) != len(counts) || counts[i] != 1150 ||
		ends[i-1] > 3*time.Millisecond || ends[i] <= 3*time.Millisecond {
		t.Errorf("3 ms is in bucket %d, up to %v", i, ends[i])
	}
	if n := len(f.Route("www.example.com", "/api")); n != 1 {
		t.Errorf("%d series of another path", n)
	}
	f.Forget(func(r cloud.ReleaseRef) bool { return r.N == 9 }, func(_, path string) bool { return path == "/" })
	if len(f.Route("www.example.com", "/api")) != 0 || len(f.Route("www.example.com", "/")) != 1 {
		t.Error("forgotten routes and releases are there still")
	}
}

// BenchmarkRecord counts a request of an app's own address, and one of a mapped host among many.
func BenchmarkRecord(b *testing.B) {
	for _, c := range []struct{ name, host, path string }{{"own", "", ""}, {"mapped", "www.example.com", "/"}} {
		b.Run(c.name, func(b *testing.B) {
			f := NewFigures(DefaultWarmup)
			x := Exchange{Release: ref("shop").Release(2), Method: []byte("GET"), Status: 200, First: time.Millisecond, Out: 120, Nth: 1000}
			for i := range 10_000 {
				x.RouteHost, x.RoutePath = "www"+strconv.Itoa(i)+".example.com", "/"
				f.Record(&x)
			}
			x.RouteHost, x.RoutePath = c.host, c.path
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for x := x; pb.Next(); {
					f.Record(&x)
				}
			})
		})
	}
}

// TestRecordedRoutes: an exchange says which mapped route it took, and whom it was meant for where nobody
// could take it.
func TestRecordedRoutes(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, _ *http.Request) {}))
	f.world.app("shop", 1, 2)
	f.world.vhost(t, "*.example.org", "public", map[string][]string{"/": {"shop@r1"}, "/api": {"shop@r2"}})
	f.swap()
	p := dial(t, f.public)
	for _, c := range []struct {
		target, host         string
		status               int
		route, path, release string
		instance             cloud.InstanceID
		nth                  uint64
	}{
		{"/x", "a.Example.org:80", 200, "*.example.org", "/", "shop@r1", "shop-r1-1", 1},
		{"/x", "b.example.org", 200, "*.example.org", "/", "shop@r1", "shop-r1-1", 2},
		{"/api/x", "b.example.org", 503, "*.example.org", "/api", "shop@r2", "", 0},
		{"/", "example.org", 404, "", "", "", "", 0},
	} {
		res, _ := p.send(get(c.target, c.host)).answer("GET")
		x := f.seen.next(t)
		if res.StatusCode != c.status || x.RouteHost != c.route || x.RoutePath != c.path || x.Release.String() != c.release || x.Instance != c.instance || x.Nth != c.nth {
			t.Errorf("%s%s: %d by %q %q, %s %s, number %d", c.host, c.target, res.StatusCode, x.RouteHost, x.RoutePath, x.Release, x.Instance, x.Nth)
		}
	}
	dial(t, f.addr).send(get("/", shopHost)).answer("GET")
	if x := f.seen.next(t); x.RouteHost != "" || x.Release != ref("shop").Release(1) {
		t.Errorf("an app's own address: %q, %s", x.RouteHost, x.Release)
	}
}

// A request waits from when it has been sent until its answer begins, once, also where it is sent again.
func TestWaitingRequests(t *testing.T) {
	f := NewFigures(0)
	shop := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	x := Exchange{RouteHost: "www.example.com", RoutePath: "/", Release: shop.Release(1)}
	counts := func(release int) [2]uint64 {
		for _, s := range f.Route("www.example.com", "/") {
			if s.Release == shop.Release(release) {
				return [2]uint64{s.Judged.Started, s.Judged.Ended}
			}
		}
		return [2]uint64{}
	}
	f.Waits(&x)
	if got := counts(1); got != [2]uint64{1, 0} {
		t.Errorf("r1 while it is to answer: %v", got)
	}
	x.Release = shop.Release(2) // r1 broke off
	f.Waits(&x)
	if one, two := counts(1), counts(2); one != [2]uint64{1, 1} || two != [2]uint64{1, 0} {
		t.Errorf("sent again: %v, %v", one, two)
	}
	f.Waited(&x)
	f.Waited(&x)
	if got := counts(2); got != [2]uint64{1, 1} {
		t.Errorf("answered: %v", got)
	}
	f.Waits(&Exchange{RouteHost: "www.example.com", RoutePath: "/", Release: shop.Release(2), Pinned: true})
	f.Waits(&Exchange{Release: shop.Release(2)})
	if got := counts(2); got != [2]uint64{1, 1} {
		t.Errorf("those that chose their release, or came to its own address, count: %v", got)
	}
}

// Where few requests come, an instance does not stay cold for hours.
func TestInstancesWarmUpInTimeToo(t *testing.T) {
	f := NewFigures(DefaultWarmup)
	for _, c := range []struct {
		nth  uint64
		age  time.Duration
		want bool
	}{{0, 0, false}, {1, 0, true}, {10, time.Hour, true}, {11, time.Hour, false}, {50, time.Minute, true}, {50, 3 * time.Minute, false}, {51, 0, false}} {
		if got := f.warms(&Exchange{Nth: c.nth, Age: c.age}); got != c.want {
			t.Errorf("request %d after %s warms: %v", c.nth, c.age, got)
		}
	}
}
