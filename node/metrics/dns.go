package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/protoduction/micro/dnsd"
)

// Queries counts the DNS server's answers. It takes no lock and allocates nothing.
type Queries struct {
	n [maxRcode + 1][maxType + 1]atomic.Uint64
}

// Rcodes up to BADCOOKIE and types up to CAA are counted separately. Higher rcodes count as the last one, and higher
// types as type 0, which does not exist.
const (
	maxRcode = 23
	maxType  = 257
)

var _ dnsd.Recorder = (*Queries)(nil)

// CountAnswer implements dnsd.Recorder.
func (q *Queries) CountAnswer(rcode int, qtype uint16) {
	if qtype > maxType {
		qtype = 0
	}
	q.n[min(max(rcode, 0), maxRcode)][qtype].Add(1)
}

var queries = describe("micro_dns_queries_total", "DNS answers by their code and by the type asked for.", "rcode", "type")

// dnsCollector collects the counts of DNS answers.
type dnsCollector struct{ queries *Queries }

// Describe implements prometheus.Collector.
func (dnsCollector) Describe(to chan<- *prometheus.Desc) { to <- queries }

// Collect implements prometheus.Collector.
func (c dnsCollector) Collect(to chan<- prometheus.Metric) {
	type labels struct{ rcode, qtype string }
	sum := map[labels]uint64{} // several types share the label "other"
	for rcode := range c.queries.n {
		for qtype := range c.queries.n[rcode] {
			if n := c.queries.n[rcode][qtype].Load(); n > 0 {
				sum[labels{dnsd.RcodeLabel(rcode), dnsd.TypeLabel(uint16(qtype))}] += n
			}
		}
	}
	for l, n := range sum {
		to <- counter(queries, n, l.rcode, l.qtype)
	}
}
