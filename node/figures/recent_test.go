package figures

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

// TestLastMinute checks the counts of the last minute, for a route and for a release as a whole, while requests begin
// and end.
func TestLastMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted := router.NewFigures(0)
		record := func(app cloud.AppName, n, status int, took time.Duration) {
			x := router.Exchange{
				Release: release(app), RouteHost: string(app) + ".example.com", RoutePath: "/", Method: []byte("GET"), Status: status,
				First: took, Duration: took,
			}
			for range n {
				counted.Record(&x)
			}
		}
		r := newRecent(time.Now())
		stop := make(chan struct{})
		go func() { _ = r.run(t.Context(), alone(counted)); close(stop) }()
		expect := func(what string, name router.SeriesName, seconds float64, requests, errors uint64, p95 float64) {
			t.Helper()
			synctest.Wait()
			m := r.lastMinute(name, counted.At(name.Place)[name.Release].Total, time.Now())
			if m.Seconds != seconds || m.Requests != requests || m.Errors != errors || m.P95 < .97*p95 || m.P95 > 1.03*p95 || m.Rate != float64(requests)/seconds {
				t.Errorf("%s: %+v, want %d requests, %d errors and a p95 of %g ms in %g s", what, *m, requests, errors, p95, seconds)
			}
		}
		shop := router.SeriesName{Release: release("shop")}
		route := router.SeriesName{Place: router.Place{Host: "shop.example.com", Path: "/"}, Release: release("shop")}
		time.Sleep(10 * time.Second)
		record("shop", 100, 200, 10*time.Millisecond)
		expect("at the begin", shop, 10, 100, 0, 10)
		expect("at the begin", route, 10, 100, 0, 10)
		time.Sleep(81 * time.Second) // points at 45, 60, 75 and 90 s
		record("shop", 10, 503, 100*time.Millisecond)
		record("blog", 7, 200, 20*time.Millisecond)
		for _, name := range []router.SeriesName{shop, route} {
			expect("of late", name, 46, 10, 10, 100)
		}
		expect("begun of late", router.SeriesName{Release: release("blog")}, 46, 7, 0, 20)
		time.Sleep(50 * time.Second) // points at 90, 105, 120 and 135 s
		for _, name := range []router.SeriesName{shop, route} {
			expect("a little later", name, 51, 10, 10, 100)
		}
		time.Sleep(30 * time.Second)
		for _, name := range []router.SeriesName{shop, route} {
			expect("quiet", name, 51, 0, 0, 0)
		}
		if same := r.series[route]; same[0] != same[points-1] {
			t.Error("a quiet route has a point of its own for each time")
		}
		counted.Forget(func(cloud.ReleaseRef) bool { return false }, func(string, string) bool { return false })
		time.Sleep(pointEvery)
		synctest.Wait()
		if len(r.series) > 0 {
			t.Errorf("of releases that no longer exist are left: %v", r.series)
		}
	})
}

func release(app cloud.AppName) cloud.ReleaseRef {
	return cloud.AppRef{Group: cloud.DefaultGroup, App: app}.Release(1)
}

func BenchmarkTakePoint(b *testing.B) {
	counted := router.NewFigures(0)
	x := router.Exchange{Release: release("shop"), RouteHost: "www.example.com", RoutePath: "/", Method: []byte("GET"), Status: 200, First: time.Millisecond}
	r, t := newRecent(time.Now()), alone(counted)
	for b.Loop() {
		counted.Record(&x)
		r.record(t, time.Now())
	}
}

// alone returns the totals of a node that is the whole cloud.
func alone(counted *router.Figures) *Totals {
	return NewTotals(TotalsConfig{Node: "n1", Counted: counted, Started: time.Now(), Peers: nobody{}, Now: time.Now})
}

type nobody struct{}

func (nobody) Living() []cloud.NodeName { return nil }

func (nobody) Ask(context.Context, cloud.NodeName, Cursor) (Handover, error) { return Handover{}, nil }
