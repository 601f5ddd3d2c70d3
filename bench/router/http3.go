package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// overQUIC are the loads of HTTP/3. Each has one of HTTP/2 that it stands beside.
var overQUIC = []load{
	{"HTTP/3: GET, 120 B answer", "/120", 0, byHTTP3},
	{"HTTP/3: POST 16 KiB", "/120", 16 << 10, byHTTP3},
	{"HTTP/3: GET, 64 KiB answer", "/65536", 0, byHTTP3},
}

// http3 prints what the router's HTTP/3 costs beside its HTTP/2.
func (b *bench) http3(ctx context.Context) error {
	p := b.proxies[len(b.proxies)-1]
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nmicro alone, µs of CPU per request\tby HTTP/2\tby HTTP/3\tHTTP/3 / HTTP/2 (least – most)\tHTTP/2 req/s\tHTTP/3 req/s")
	for _, l := range overQUIC {
		if !strings.Contains(l.name, b.only) {
			continue
		}
		beside := l
		beside.way = byHTTP2
		var cost, rate [2][]float64
		var ratios []float64
		for range b.rounds {
			for i, l := range []load{beside, l} {
				s, err := b.sample(ctx, p, l, 0)
				if err != nil {
					return fmt.Errorf("%s: %w", l.name, err)
				}
				cost[i], rate[i] = append(cost[i], s.cost), append(rate[i], s.rate)
			}
			last := len(cost[0]) - 1
			ratios = append(ratios, cost[1][last]/cost[0][last])
		}
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.2f (%.2f – %.2f)\t%.0f\t%.0f\n", l.name, median(cost[0]), median(cost[1]),
			median(ratios), slices.Min(ratios), slices.Max(ratios), median(rate[0]), median(rate[1]))
	}
	return w.Flush()
}
