package figures

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
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
	series  map[router.SeriesName][]*point
}

// point is the counts of a series at one time.
type point struct {
	stamp            uint64
	requests, errors uint64
	latency          router.Snapshot
}

func newRecent(started time.Time) *recent {
	return &recent{started: started, series: map[router.SeriesName][]*point{}}
}

// run records a point every pointEvery until ctx ends.
func (r *recent) run(ctx context.Context, t *Totals) error {
	tick := time.NewTicker(pointEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			r.record(t, now)
		}
	}
}

// record records a point of each series.
func (r *recent) record(t *Totals, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.times)
	if before == points {
		before--
		r.times = r.times[1:]
	}
	r.times = append(slices.Clone(r.times), now)
	next := make(map[router.SeriesName][]*point, len(r.series))
	t.eachRecent(func(name router.SeriesName, stamp uint64, read func() router.Counts) {
		old := r.series[name]
		var last *point
		if len(old) > 0 {
			last = old[len(old)-1]
		}
		if last == nil || last.stamp != stamp {
			c := read()
			last = &point{stamp, c.Requests, c.Errors, c.Latency}
		}
		all := make([]*point, before, before+1)
		copy(all, old[max(0, len(old)-before):]) // one per time; nil for times before a new series
		next[name] = append(all, last)
	})
	r.series = next
}

// lastMinute returns the counts of a series in the last minute, or since the node's start if that is less.
func (r *recent) lastMinute(name router.SeriesName, c router.Counts, now time.Time) *api.LastMinute {
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
	m := &api.LastMinute{Seconds: math.Round(seconds), Requests: c.Requests - min(then.requests, c.Requests), Errors: c.Errors - min(then.errors, c.Errors)}
	m.Rate = float64(m.Requests) / seconds
	p50, p95, p99 := c.Latency.Since(then.latency).Quantiles()
	m.P50, m.P95, m.P99 = milliseconds(p50), milliseconds(p95), milliseconds(p99)
	return m
}
