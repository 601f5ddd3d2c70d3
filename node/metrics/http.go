package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

var (
	requests = describe("micro_http_requests_total", "Requests by release and status; 499 if the client closed the connection.",
		"app", "release", "code", "method")
	duration = describe("micro_http_request_duration_seconds", "Time until the head of an app's response arrived.", "app", "release")
	mirrored = describe("micro_http_mirrored_requests_total", "Mirrored requests by release, and how their response compared with the original's.",
		"app", "release", "result")
	inFlight    = describe("micro_http_in_flight_requests", "Requests and upgraded connections that have not ended.", "app", "release")
	connections = describe("micro_http_connections", "Open connections of clients.")
)

// durationBuckets are the exported buckets, to which the router's finer ones are added up.
var durationBuckets = []time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// httpCollector collects the router's counts. Requests without a route have empty labels.
type httpCollector struct {
	figures *router.Figures
	router  interface{ Stats() router.Stats }
}

// Describe implements prometheus.Collector.
func (httpCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requests, duration, mirrored, inFlight, connections} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c httpCollector) Collect(to chan<- prometheus.Metric) {
	stats := c.router.Stats()
	to <- gauge(connections, int(stats.Connections))
	for _, s := range c.figures.All() {
		for _, code := range s.Codes() {
			to <- counter(requests, code.N.Load(), app(s.Release), release(s.Release), strconv.Itoa(code.Status), code.Method)
		}
		if s.Release.App != "" {
			to <- histogram(s.Latency.Snapshot(), app(s.Release), release(s.Release))
		}
		if s.Release.N != 0 {
			to <- gauge(inFlight, int(stats.InFlight[s.Release]), app(s.Release), release(s.Release))
		}
	}
	for _, m := range c.figures.AllMirrors() {
		app, release := app(m.Release), release(m.Release)
		to <- counter(mirrored, m.Answered-m.Differ, app, release, "same")
		to <- counter(mirrored, m.Differ, app, release, "differs")
		to <- counter(mirrored, m.Failed, app, release, "failed")
		to <- counter(mirrored, m.Dropped, app, release, "dropped")
	}
}

// app and release return the labels of a release, or "" if there is none.
func app(r cloud.ReleaseRef) string { return r.AppRef.String() }

func release(r cloud.ReleaseRef) string {
	if r.N == 0 {
		return ""
	}
	return "r" + strconv.Itoa(r.N)
}

func histogram(s router.Snapshot, labels ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(durationBuckets))
	for _, bound := range durationBuckets {
		buckets[bound.Seconds()] = s.Count - s.Over(bound)
	}
	return prometheus.MustNewConstHistogram(duration, s.Count, s.Sum.Seconds(), buckets, labels...)
}
