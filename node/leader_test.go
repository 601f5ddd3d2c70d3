package node

import (
	"slices"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/traffic"
)

// TestHangingIsWorse checks that a release that hangs until its clients give up is judged as slow.
func TestHangingIsWorse(t *testing.T) {
	figures := router.NewFigures(0)
	shop := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	record := func(release, n int, x router.Exchange) {
		x.Release, x.RouteHost, x.RoutePath, x.Method = shop.Release(release), "www.example.com", "/", []byte("GET")
		for range n {
			figures.Record(&x)
		}
	}
	fine := router.Exchange{Status: 200, First: 20 * time.Millisecond, Duration: 20 * time.Millisecond}
	record(1, 4000, fine)
	record(2, 3600, fine)
	record(2, 400, router.Exchange{Status: 499, Error: "client_gone", Duration: 11 * time.Second})
	series := figures.Route("www.example.com", "/")
	old, fresh := sample(series[0].Judged), sample(series[1].Judged)
	if old.Requests != 4000 || fresh.Requests != 3600 || fresh.Errors != 0 {
		t.Errorf("of r1 %d requests are judged, of r2 %d and %d errors", old.Requests, fresh.Requests, fresh.Errors)
	}
	trial := traffic.Begin(old, traffic.Sample{}, traffic.DefaultMargins, time.Unix(0, 0))
	for i := range uint64(10) { // what r2 did, in ten seconds
		old.Requests += 400
		for k := range old.Counts {
			old.Counts[k] += old.Counts[k] / 10
		}
		part := fresh
		part.Requests, part.Counts = fresh.Requests*(i+1)/10, slices.Clone(fresh.Counts)
		for k := range part.Counts {
			part.Counts[k] = part.Counts[k] * (i + 1) / 10
		}
		trial.Observe(old, part, time.Unix(int64(i)+1, 0))
	}
	if j := trial.Judge([]traffic.Guard{traffic.Errors, traffic.Latency}); j.Verdict != traffic.Worse || j.Findings[1].Verdict != traffic.Worse {
		t.Errorf("%+v", j)
	}
}
