package router

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// A histogram's buckets are log-linear: every power of two of microseconds has 32 buckets of equal width, so the error of a
// bucket's middle is at most 1.6 %. The last bucket has all values above 71 minutes.
const (
	linearBits = 5
	linear     = 1 << linearBits
	maxBits    = 32
	buckets    = (maxBits - linearBits + 1) * linear
)

// Histogram counts durations. Its zero value is empty; it may be used by many goroutines at a time.
// It allocates memory only for the powers of two that occur, usually about five.
type Histogram struct {
	sum    atomic.Uint64 // microseconds
	octave [buckets / linear]atomic.Pointer[[linear]atomic.Uint64]
}

// bucket returns where a duration of v microseconds is counted.
func bucket(v uint64) int {
	if v < linear {
		return int(v)
	}
	shift := bits.Len64(v) - linearBits - 1
	return min(shift*linear+int(v>>shift), buckets-1)
}

// bounds returns the first value of a bucket and the first of the next, in microseconds.
func bounds(i int) (from, to uint64) {
	if i < linear {
		return uint64(i), uint64(i) + 1
	}
	shift := i/linear - 1
	from = uint64(i-shift*linear) << shift
	return from, from + 1<<shift
}

// Add counts a duration; a negative one counts as none.
func (h *Histogram) Add(d time.Duration) {
	v := uint64(max(d, 0) / time.Microsecond)
	i := bucket(v)
	octave := h.octave[i/linear].Load()
	if octave == nil {
		h.octave[i/linear].CompareAndSwap(nil, new([linear]atomic.Uint64))
		octave = h.octave[i/linear].Load()
	}
	octave[i%linear].Add(1)
	h.sum.Add(v)
}

// Snapshot is what a histogram had counted at some time.
type Snapshot struct {
	Count  uint64
	Sum    time.Duration
	counts []uint64 // by bucket; nil for none
}

// Snapshot returns what has been counted so far. Counts that come meanwhile may be in it or not.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{counts: make([]uint64, buckets), Sum: time.Duration(h.sum.Load()) * time.Microsecond}
	for i := range h.octave {
		octave := h.octave[i].Load()
		if octave == nil {
			continue
		}
		for k := range octave {
			n := octave[k].Load()
			s.counts[i*linear+k] = n
			s.Count += n
		}
	}
	return s
}

// upper is where each bucket ends.
var upper = func() (ends []time.Duration) {
	for i := range buckets {
		_, to := bounds(i)
		ends = append(ends, time.Duration(to)*time.Microsecond)
	}
	return ends
}()

// Buckets returns where each of the histogram's buckets ends, the same for all histograms, and what each
// has counted. Neither may be changed.
func (s Snapshot) Buckets() (ends []time.Duration, counts []uint64) {
	if s.counts == nil {
		return upper, make([]uint64, buckets)
	}
	return upper, s.counts
}

// Merge returns what both have counted.
func (s Snapshot) Merge(o Snapshot) Snapshot {
	n := Snapshot{counts: make([]uint64, buckets), Sum: s.Sum + o.Sum, Count: s.Count + o.Count}
	copy(n.counts, s.counts)
	for i, c := range o.counts {
		n.counts[i] += c
	}
	return n
}

// Quantile returns the duration that a share q of all counted ones, 0 to 1, does not exceed; 0 where
// nothing was counted.
func (s Snapshot) Quantile(q float64) time.Duration {
	if s.Count == 0 {
		return 0
	}
	// The next whole number; what floating point adds is none. Of 10 durations 95 % are all 10.
	rank := uint64(math.Ceil(min(max(q, 0), 1)*float64(s.Count) - 1e-6))
	rank = min(max(rank, 1), s.Count)
	for i, n := range s.counts {
		if n >= rank {
			from, to := bounds(i)
			if to-from == 1 {
				return time.Duration(from) * time.Microsecond
			}
			return time.Duration(from+to) * time.Microsecond / 2
		}
		rank -= n
	}
	return 0
}

// Over returns how many were longer than d, to the precision of a bucket: what Prometheus' cumulative
// buckets need.
func (s Snapshot) Over(d time.Duration) uint64 {
	var n uint64
	for i := bucket(uint64(max(d, 0)/time.Microsecond)) + 1; i < len(s.counts); i++ {
		n += s.counts[i]
	}
	return n
}
