package figures

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

const (
	// pointEvery is how often the counts are recorded, and points how many records are kept: the oldest is almost
	// a minute old.
	pointEvery = 15 * time.Second
	points     = 4
)

// recent records the counts of the last minute. Its size depends on the series with recent requests: a series
// without requests shares one point for all times.
type recent struct {
	mu      sync.Mutex
	started time.Time
	times   []time.Time // of the points, oldest first
	series  map[seriesName][]*point
	reached map[routeName]uint64 // requests of each route at the last point
}

// seriesName identifies a series: a release on a route, or on all routes if host is "".
type seriesName struct {
	routeName
	release cloud.ReleaseRef
}

type routeName struct{ host, path string }

// point is the counts of a series at one time.
type point struct {
	requests, errors, gone uint64
	latency                []bin
}

// bin is a non-empty bucket of a histogram.
type bin struct {
	index int
	n     uint64
}

func newRecent(started time.Time) *recent {
	return &recent{started: started, series: map[seriesName][]*point{}, reached: map[routeName]uint64{}}
}

func pointOf(requests, errors, gone uint64, latency router.Snapshot) *point {
	p := &point{requests: requests, errors: errors, gone: gone}
	_, counts := latency.Buckets()
	for i, n := range counts {
		if n > 0 {
			p.latency = append(p.latency, bin{i, n})
		}
	}
	return p
}

// run records a point every pointEvery until ctx ends.
func (r *recent) run(ctx context.Context, f *router.Figures) error {
	tick := time.NewTicker(pointEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			r.record(f, now)
		}
	}
}

// record records a point of each series.
func (r *recent) record(f *router.Figures, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.times)
	if before == points {
		before--
		r.times = r.times[1:]
	}
	r.times = append(slices.Clone(r.times), now)
	next := make(map[seriesName][]*point, len(r.series))
	add := func(name seriesName, p *point) {
		all := make([]*point, before, before+1)
		old := r.series[name]
		copy(all, old[max(0, len(old)-before):]) // one per time; nil for times before a new series
		next[name] = append(all, p)
	}
	last := func(name seriesName) *point {
		if old := r.series[name]; len(old) > 0 {
			return old[len(old)-1]
		}
		return nil
	}
	for _, s := range f.All() {
		name := seriesName{release: s.Release}
		p := last(name)
		if p == nil || p.requests != s.Requests.Load() {
			p = pointOf(s.Requests.Load(), s.Errors.Load(), s.Gone.Load(), s.Latency.Snapshot())
		}
		add(name, p)
	}
	reached := make(map[routeName]uint64, len(r.reached))
	f.EachRoute(func(host, path string, requests uint64) {
		route := routeName{host, path}
		reached[route] = requests
		if requests == r.reached[route] {
			return
		}
		for _, s := range f.Route(host, path) {
			add(seriesName{route, s.Release}, pointOf(s.Total.Requests, s.Total.Errors, s.Total.Gone, s.Total.Latency))
		}
	})
	for name := range r.series {
		if _, done := next[name]; done || name.host == "" {
			continue
		}
		if _, exists := reached[name.routeName]; exists {
			add(name, last(name))
		}
	}
	r.series, r.reached = next, reached
}

// lastMinute returns the counts of a series in the last minute, or since the node's start if that is less.
func (r *recent) lastMinute(name seriesName, requests, errors uint64, latency router.Snapshot, now time.Time) *api.LastMinute {
	r.mu.Lock()
	since, then := r.started, &point{}
	if len(r.times) == points {
		since = r.times[0]
	}
	if all := r.series[name]; len(r.times) == points && len(all) == points && all[0] != nil {
		then = all[0]
	}
	r.mu.Unlock()
	seconds := max(now.Sub(since).Seconds(), 0.001)
	m := &api.LastMinute{Seconds: math.Round(seconds), Requests: requests - min(then.requests, requests), Errors: errors - min(then.errors, errors)}
	m.Rate = float64(m.Requests) / seconds
	ends, all := latency.Buckets()
	counts := slices.Clone(all)
	for _, b := range then.latency {
		counts[b.index] -= min(b.n, counts[b.index])
	}
	m.P50, m.P95, m.P99 = quantile(ends, counts, .5), quantile(ends, counts, .95), quantile(ends, counts, .99)
	return m
}

// quantile returns the q-quantile in milliseconds, rounded to the middle of a bucket.
func quantile(ends []time.Duration, counts []uint64, q float64) float64 {
	var all uint64
	for _, n := range counts {
		all += n
	}
	if all == 0 {
		return 0
	}
	rank := max(uint64(math.Ceil(q*float64(all)-1e-6)), 1)
	for i, n := range counts {
		if n >= rank {
			begin := time.Duration(0)
			if i > 0 {
				begin = ends[i-1]
			}
			if ends[i]-begin <= time.Microsecond {
				return milliseconds(begin)
			}
			return milliseconds((begin + ends[i]) / 2)
		}
		rank -= n
	}
	return 0
}
