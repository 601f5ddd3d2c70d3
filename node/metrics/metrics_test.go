package metrics

import (
	"bytes"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

// newMetrics returns metrics with a few counts of each kind.
func newMetrics(t *testing.T) *Metrics {
	t.Helper()
	shop := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	figures, queries, snapshots := router.NewFigures(router.DefaultWarmup), &Queries{}, cloud.NewCell()
	for _, x := range []router.Exchange{
		{Release: shop.Release(7), Method: []byte("GET"), Status: 200, First: 3 * time.Millisecond},
		{Release: shop.Release(7), Method: []byte("GET"), Status: 200, First: 40 * time.Millisecond},
		{Release: shop.Release(7), Method: []byte("POST"), Status: 502, Error: "endpoint_failure"},
		{Release: cloud.AppRef{Group: "qa", App: "shop"}.Release(1), Method: []byte("BREW\"\n"), Status: 418, First: 20 * time.Second},
		{Method: []byte("GET"), Status: 404, Error: "unknown_route"},
	} {
		figures.Record(&x)
	}
	figures.RecordMirror(&router.Mirrored{Release: shop.Release(8), Original: 200, Status: 500})
	queries.CountAnswer(dns.RcodeSuccess, dns.TypeA)
	queries.CountAnswer(dns.RcodeSuccess, dns.TypeA)
	queries.CountAnswer(dns.RcodeNameError, 65_280)
	queries.CountAnswer(dns.RcodeNameError, 0)
	for i, phase := range []cloud.InstancePhase{cloud.InstanceReady, cloud.InstanceReady, cloud.InstanceStarting} {
		snapshots.Observe(func(o *cloud.Instances) *cloud.Instances {
			return o.With(&cloud.Instance{
				ID: cloud.InstanceID(rune('a' + i)), Slot: cloud.Slot{ReleaseRef: shop.Release(7), Process: cloud.Web, Index: i},
				Phase: phase, Addr: netip.MustParseAddrPort("10.0.0.2:8080"),
			})
		})
	}
	return New(Config{Version: `1.0-"rc"`, Figures: figures, Router: router.New(router.Config{}), Queries: queries, Views: snapshots})
}

func TestMetrics(t *testing.T) {
	var b bytes.Buffer
	if err := newMetrics(t).Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for line := range strings.SplitSeq(strings.TrimSpace(strings.ReplaceAll(`
micro_build_info{go="GOVERSION",version="1.0-\"rc\""} 1
micro_http_requests_total{app="",code="404",method="GET",release=""} 1
micro_http_requests_total{app="qa/shop",code="418",method="OTHER",release="r1"} 1
micro_http_requests_total{app="shop",code="200",method="GET",release="r7"} 2
micro_http_requests_total{app="shop",code="502",method="POST",release="r7"} 1
micro_http_request_duration_seconds_bucket{app="shop",release="r7",le="0.001"} 0
micro_http_request_duration_seconds_bucket{app="shop",release="r7",le="0.005"} 1
micro_http_request_duration_seconds_bucket{app="shop",release="r7",le="0.05"} 2
micro_http_request_duration_seconds_bucket{app="shop",release="r7",le="+Inf"} 2
micro_http_request_duration_seconds_sum{app="shop",release="r7"} 0.043
micro_http_request_duration_seconds_count{app="shop",release="r7"} 2
micro_http_request_duration_seconds_bucket{app="qa/shop",release="r1",le="10"} 0
micro_http_request_duration_seconds_bucket{app="qa/shop",release="r1",le="+Inf"} 1
micro_http_mirrored_requests_total{app="shop",release="r8",result="differs"} 1
micro_http_in_flight_requests{app="shop",release="r7"} 0
micro_dns_queries_total{rcode="NOERROR",type="A"} 2
micro_dns_queries_total{rcode="NXDOMAIN",type="other"} 2
micro_instances{app="shop",phase="ready",release="r7"} 2
micro_instances{app="shop",phase="starting",release="r7"} 1
micro_instances{app="shop",phase="exited",release="r7"} 0
`, "GOVERSION", runtime.Version())), "\n") {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	for _, name := range []string{"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds", "go_goroutines"} {
		if !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("no %s", name)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestMetricsForPrometheus checks the metrics with promtool.
func TestMetricsForPrometheus(t *testing.T) {
	var b bytes.Buffer
	if err := newMetrics(t).Write(&b); err != nil {
		t.Fatal(err)
	}
	check := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	check.Stdin = &b
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics (scripts/deps.sh test installs it): %v\n%s", err, out)
	}
}
