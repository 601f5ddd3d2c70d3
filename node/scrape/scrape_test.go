package scrape

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

func TestSum(t *testing.T) {
	for text, want := range map[string]map[string]float64{
		"orders_total 5\n": {"orders_total": 5},
		"orders_total{shop=\"a\"} 5\norders_total{shop=\"b\"} 2.5 1700000000\n": {"orders_total": 7.5},
		"orders_total{note=\"} 9\"} 1e3\n":                                      {"orders_total": 1000},
		"orders_total{note=\"\\\"} 9\"} 2\n":                                    {"orders_total": 2},
		"orders_total_created 9\norders_total 1\n":                              {"orders_total": 1},
		"# TYPE orders_total counter\n":                                         {"orders_total": 0},
		"# HELP orders_total 5\n":                                               {},
		"orders_total NaN\n":                                                    {},
		"orders_total{\n":                                                       {},
		"orders_total":                                                          {},
		"":                                                                      {},
		"orders_total 1 # {trace=\"x\"} 2\n# EOF\n":                             {"orders_total": 1},
	} {
		if got, err := Sum(strings.NewReader(text), []string{"orders_total"}); err != nil || !maps.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestMetricsOfAnInstance(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics":
			_, _ = w.Write([]byte("orders_total 3\nother 4\n"))
		case "/moved":
			http.Redirect(w, r, "/metrics", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	addr := netip.MustParseAddrPort(server.Listener.Addr().String())
	got := Metrics(context.Background(), addr, []cloud.MetricGuard{{Metric: "orders_total"}, {Metric: "missing"}, {Metric: "other", Path: "/moved"}, {Metric: "closed", Port: 1}})
	if !maps.Equal(got, map[string]float64{"orders_total": 3}) {
		t.Errorf("%v", got)
	}
}

func FuzzSum(f *testing.F) {
	f.Add("orders_total{a=\"b\"} 1\n")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = Sum(strings.NewReader(text), []string{"orders_total"}) })
}
