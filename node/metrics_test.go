package node

import (
	"bytes"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

// counted is a node that has counted a little of everything, and runs nothing.
func counted(t *testing.T) *Node {
	t.Helper()
	n := &Node{
		cfg: Config{Version: api.Version{Version: `1.0-"rc"`, Go: "go1.26"}}, started: time.Now(), snapshots: cloud.NewCell(),
		figures: router.NewFigures(router.DefaultWarmup), router: router.New(router.Config{}),
	}
	for _, x := range []router.Exchange{
		{App: "shop", Release: "r7", Method: []byte("GET"), Status: 200, First: 3 * time.Millisecond},
		{App: "shop", Release: "r7", Method: []byte("GET"), Status: 200, First: 40 * time.Millisecond},
		{App: "shop", Release: "r7", Method: []byte("POST"), Status: 502, Error: "endpoint_failure"},
		{App: "qa/shop", Release: "r1", Method: []byte("BREW\"\n"), Status: 418, First: 20 * time.Second},
		{Method: []byte("GET"), Status: 404, Error: "unknown_route"},
	} {
		n.figures.Record(&x)
	}
	n.figures.RecordMirror(&router.Mirrored{App: "shop", Release: "r8", Original: 200, Status: 500})
	n.queries.Query(dns.RcodeSuccess, dns.TypeA)
	n.queries.Query(dns.RcodeSuccess, dns.TypeA)
	n.queries.Query(dns.RcodeNameError, 65_280)
	n.queries.Query(dns.RcodeNameError, 0)
	shop := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	for i, phase := range []cloud.InstancePhase{cloud.InstanceReady, cloud.InstanceReady, cloud.InstanceStarting} {
		n.snapshots.Observe(func(o *cloud.Instances) *cloud.Instances {
			return o.With(&cloud.Instance{
				ID: cloud.InstanceID(rune('a' + i)), Slot: cloud.Slot{ReleaseRef: shop.Release(7), Process: cloud.Web, Index: i},
				Phase: phase, Addr: netip.MustParseAddrPort("10.0.0.2:8080"),
			})
		})
	}
	return n
}

func TestMetrics(t *testing.T) {
	var b bytes.Buffer
	if err := counted(t).Metrics(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for line := range strings.SplitSeq(strings.TrimSpace(`
micro_build_info{version="1.0-\"rc\"",go="go1.26"} 1
micro_http_requests_total{app="",release="",code="404",method="GET"} 1
micro_http_requests_total{app="qa/shop",release="r1",code="418",method="OTHER"} 1
micro_http_requests_total{app="shop",release="r7",code="200",method="GET"} 2
micro_http_requests_total{app="shop",release="r7",code="502",method="POST"} 1
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
micro_instances{app="shop",release="r7",phase="ready"} 2
micro_instances{app="shop",release="r7",phase="starting"} 1
micro_instances{app="shop",release="r7",phase="exited"} 0
`), "\n") {
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

// TestMetricsForPrometheus asks Prometheus' own tool.
func TestMetricsForPrometheus(t *testing.T) {
	var b bytes.Buffer
	if err := counted(t).Metrics(&b); err != nil {
		t.Fatal(err)
	}
	check := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	check.Stdin = &b
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics (scripts/deps.sh test installs it): %v\n%s", err, out)
	}
}

func TestKnownFigures(t *testing.T) {
	shop := cloud.AppRef{Group: "qa", App: "shop"}
	s := cloud.NewState().Apply(1, []cloud.Change{cloud.Put(&cloud.App{AppRef: shop}), cloud.Put(&cloud.Release{ReleaseRef: shop.Release(2)})})
	for _, c := range []struct {
		app, release string
		want         bool
	}{{"", "", true}, {"qa/shop", "", true}, {"qa/shop", "r2", true}, {"qa/shop", "r1", false}, {"shop", "r2", false}, {"shop", "", false}} {
		if got := known(s, c.app, c.release); got != c.want {
			t.Errorf("%s@%s: %v", c.app, c.release, got)
		}
	}
}
