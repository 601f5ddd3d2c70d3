package router

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	next := uint64(0)
	for i := range buckets {
		from, to := bounds(i)
		if from != next || bucket(from) != i || bucket(to-1) != i {
			t.Fatalf("bucket %d is [%d, %d), %d is in %d", i, from, to, from, bucket(from))
		}
		if width := to - from; from >= linear && float64(width)/2/float64(from) > 0.0157 {
			t.Fatalf("bucket %d is %.1f %% off", i, 100*float64(width)/2/float64(from))
		}
		next = to
	}
	if bucket(1<<62) != buckets-1 {
		t.Error("a very long time has no bucket")
	}
}

func TestQuantile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h, other Histogram
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(rng.ExpFloat64() * float64(20*time.Millisecond))
		all = append(all, d)
		if i%2 == 0 {
			h.Add(d)
		} else {
			other.Add(d)
		}
	}
	slices.Sort(all)
	s := h.Snapshot().Merge(other.Snapshot())
	for _, q := range []float64{.01, .5, .9, .95, .99, .999} {
		want := all[int(q*float64(len(all)))-1]
		if got := s.Quantile(q); (got - want).Abs() > want/50 {
			t.Errorf("p%g: got %v, want %v", 100*q, got, want)
		}
	}
	if since := s.Since(h.Snapshot()); since.Count != 10_000 || since.Quantile(.5) != other.Snapshot().Quantile(.5) || since.Sum != other.Snapshot().Sum {
		t.Errorf("since: %d", since.Count)
	}
	if n := s.Over(20 * time.Millisecond); n < 7000 || n > 7500 {
		t.Errorf("%d of 20000 over their mean", n)
	}
	if (Snapshot{}).Quantile(.5) != 0 {
		t.Error("of nothing")
	}
}

// TestFigures: what many goroutines record comes out exact.
func TestFigures(t *testing.T) {
	f := NewFigures()
	xs := []*Exchange{
		{App: "shop", Release: "r1", Method: []byte("GET"), Status: 200, First: time.Millisecond, In: 1, Out: 2},
		{App: "shop", Release: "r1", Method: []byte("POST"), Status: 500, First: time.Millisecond},
		{App: "shop", Release: "r2", Method: []byte("BREW"), Status: 502, Error: "endpoint_failure"},
		{App: "shop", Release: "r2", Method: []byte("GET"), Status: 200, First: 1, Error: "endpoint_broke_off"},
		{App: "shop", Release: "r2", Method: []byte("GET"), Status: 499, Error: "client_gone"},
		{Status: 404, Method: []byte("GET"), Error: "unknown_route"},
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 6000 {
				f.Record(xs[i%len(xs)])
			}
		})
	}
	all.Wait()
	const n = 8000
	r1, r2 := f.Get("shop", "r1"), f.Get("shop", "r2")
	if r1.Requests.Load() != 2*n || r1.Errors.Load() != n || r1.Latency.Snapshot().Count != 2*n || r1.In.Load() != n || r1.Out.Load() != 2*n || r1.Classes[5].Load() != n {
		t.Errorf("r1: %d requests, %d errors", r1.Requests.Load(), r1.Errors.Load())
	}
	if r2.Requests.Load() != 3*n || r2.Errors.Load() != 2*n || r2.Gone.Load() != n {
		t.Errorf("r2: %d requests, %d errors, %d gone", r2.Requests.Load(), r2.Errors.Load(), r2.Gone.Load())
	}
	if c := r2.Codes(); len(c) != 3 || c[2].Method != "other" || c[2].Status != 502 || c[2].N.Load() != n {
		t.Errorf("codes: %v", c)
	}
	if all := f.All(); len(all) != 3 || all[0].App != "" || all[2].Release != "r2" {
		t.Errorf("%d series", len(all))
	}
	f.Forget(func(app, release string) bool { return release == "r1" })
	if len(f.All()) != 1 {
		t.Errorf("%d series after forgetting", len(f.All()))
	}
}

func BenchmarkRecord(b *testing.B) {
	f := NewFigures()
	for _, r := range []string{"r1", "r2", "r3"} {
		f.Record(&Exchange{App: "shop", Release: r, Method: []byte("GET"), Status: 200})
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		x := &Exchange{App: "shop", Release: "r2", Method: []byte("GET"), Status: 200, First: time.Millisecond, Out: 120}
		for pb.Next() {
			f.Record(x)
		}
	})
}
