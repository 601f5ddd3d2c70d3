package router

import (
	"encoding/json"
	"errors"
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
	Count uint64
	Sum   time.Duration
	bins  []bin // of the buckets that have counted any, in their order
}

// bin is how many durations a bucket has counted.
type bin struct {
	bucket int
	n      uint64
}

// Snapshot returns what has been counted so far. Counts that come meanwhile may be in it or not.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Sum: time.Duration(h.sum.Load()) * time.Microsecond}
	for i := range h.octave {
		octave := h.octave[i].Load()
		if octave == nil {
			continue
		}
		for k := range octave {
			if n := octave[k].Load(); n > 0 {
				s.bins = append(s.bins, bin{i*linear + k, n})
				s.Count += n
			}
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

// Buckets returns where each of the histogram's buckets ends, which nobody may change, and what each has counted.
func (s Snapshot) Buckets() (ends []time.Duration, counts []uint64) {
	counts = make([]uint64, buckets)
	for _, b := range s.bins {
		counts[b.bucket] = b.n
	}
	return upper, counts
}

// Merge returns what both have counted.
func (s Snapshot) Merge(o Snapshot) Snapshot {
	return s.combine(o, func(a, b uint64) uint64 { return a + b }, s.Sum+o.Sum)
}

// Since returns what was counted after an earlier snapshot.
func (s Snapshot) Since(earlier Snapshot) Snapshot {
	return s.combine(earlier, func(a, b uint64) uint64 { return a - min(a, b) }, max(0, s.Sum-earlier.Sum))
}

// combine combines the counts of each bucket.
func (s Snapshot) combine(o Snapshot, with func(a, b uint64) uint64, sum time.Duration) Snapshot {
	out := Snapshot{Sum: sum, bins: make([]bin, 0, max(len(s.bins), len(o.bins)))}
	a, b := s.bins, o.bins
	for len(a) > 0 || len(b) > 0 {
		var next bin
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].bucket < b[0].bucket:
			next, a = bin{a[0].bucket, with(a[0].n, 0)}, a[1:]
		case len(a) == 0 || b[0].bucket < a[0].bucket:
			next, b = bin{b[0].bucket, with(0, b[0].n)}, b[1:]
		default:
			next, a, b = bin{a[0].bucket, with(a[0].n, b[0].n)}, a[1:], b[1:]
		}
		if next.n > 0 {
			out.bins = append(out.bins, next)
			out.Count += next.n
		}
	}
	return out
}

// MarshalJSON writes the sum in microseconds, and the index and the count of each bucket that is not empty.
func (s Snapshot) MarshalJSON() ([]byte, error) {
	flat := make([]uint64, 1, 1+2*len(s.bins))
	flat[0] = uint64(s.Sum / time.Microsecond)
	for _, b := range s.bins {
		flat = append(flat, uint64(b.bucket), b.n)
	}
	return json.Marshal(flat)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Snapshot) UnmarshalJSON(text []byte) error {
	var flat []uint64
	if err := json.Unmarshal(text, &flat); err != nil {
		return err
	}
	if len(flat)%2 != 1 {
		return errors.New("a histogram has a sum, and an index and a count for each bucket")
	}
	*s = Snapshot{Sum: time.Duration(flat[0]) * time.Microsecond}
	for flat = flat[1:]; len(flat) > 0; flat = flat[2:] {
		b := bin{int(min(flat[0], buckets)), flat[1]}
		if b.bucket == buckets || len(s.bins) > 0 && s.bins[len(s.bins)-1].bucket >= b.bucket {
			return errors.New("the buckets of a histogram are in their order")
		}
		s.bins = append(s.bins, b)
		s.Count += b.n
	}
	return nil
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
	for _, b := range s.bins {
		if b.n >= rank {
			from, to := bounds(b.bucket)
			if to-from == 1 {
				return time.Duration(from) * time.Microsecond
			}
			return time.Duration(from+to) * time.Microsecond / 2
		}
		rank -= b.n
	}
	return 0
}

// Over returns how many were longer than d, to the precision of a bucket: what Prometheus' cumulative
// buckets need.
func (s Snapshot) Over(d time.Duration) uint64 {
	var n uint64
	last := bucket(uint64(max(d, 0) / time.Microsecond))
	for _, b := range s.bins {
		if b.bucket > last {
			n += b.n
		}
	}
	return n
}
