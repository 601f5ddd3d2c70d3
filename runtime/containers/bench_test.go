package containers

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkStart measures the start of a container from an image in the store, with the release's first instance already
// running. Compare median-ms.
func BenchmarkStart(b *testing.B) {
	r := newRig(b)
	r.start(r.container())
	var took []time.Duration
	for b.Loop() {
		c := r.container()
		begin := time.Now()
		r.start(c)
		took = append(took, time.Since(begin))
		b.StopTimer()
		if err := r.Driver.Remove(b.Context(), c.ID); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
}
