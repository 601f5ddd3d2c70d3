package traffic

import (
	"slices"
	"sort"
	"time"
)

// Sample counts what one release did on a route so far. Counts only grow; if one shrinks, counting has started again.
type Sample struct {
	Requests uint64 // answered, or failed without an answer by the app's fault
	Errors   uint64 // of Requests: answers with 5xx, and none at all
	Classes  [6]uint64
	// Started counts the requests sent to the release, and Ended those whose answer has begun or that failed. The
	// difference is the number of requests under way.
	Started, Ended uint64
	// Counts are the answers by how long they took: Counts[i] took at most Bounds[i] and more than Bounds[i-1].
	// The first requests of each instance are not counted. Samples that are compared have the same bounds.
	Bounds []time.Duration
	Counts []uint64
	// Sizes are the answers with 2xx by their length: Sizes[i] had fewer than 2^i bytes, and at least half of that.
	Sizes [SizeBins]uint64
	// Clients are the requests by client.
	Clients Clients
}

// SizeBins is the number of size classes of answers: powers of two up to 2 GB, and more.
const SizeBins = 33

// since returns the difference to an earlier sample of the same release; 0 for a count that has started again.
func (s Sample) since(earlier Sample) Sample {
	out := Sample{
		Requests: less(s.Requests, earlier.Requests), Errors: less(s.Errors, earlier.Errors),
		Started: less(s.Started, earlier.Started), Ended: less(s.Ended, earlier.Ended), Bounds: s.Bounds, Counts: slices.Clone(s.Counts), Clients: s.Clients,
	}
	for i := range s.Classes {
		out.Classes[i] = less(s.Classes[i], earlier.Classes[i])
	}
	for i := range s.Sizes {
		out.Sizes[i] = less(s.Sizes[i], earlier.Sizes[i])
	}
	for i := range min(len(s.Counts), len(earlier.Counts)) {
		out.Counts[i] = less(s.Counts[i], earlier.Counts[i])
	}
	return out
}

func less(a, b uint64) uint64 { return a - min(a, b) }

// clone returns a sample that shares nothing with s.
func (s Sample) clone() Sample {
	s.Counts = slices.Clone(s.Counts)
	return s
}

// answers returns the number of timed answers.
func (s Sample) answers() (n uint64) {
	for _, c := range s.Counts {
		n += c
	}
	return n
}

// above returns how many answers took longer than the bound of index i.
func (s Sample) above(i int) (n uint64) {
	for _, c := range s.Counts[min(i+1, len(s.Counts)):] {
		n += c
	}
	return n
}

// bins counts the answers between consecutive limits, which are indices of Bounds. The last bin has the answers above all
// limits.
func (s Sample) bins(limits [len(quantiles)]int) (n [len(quantiles) + 1]float64) {
	bin := 0
	for i, c := range s.Counts {
		for bin < len(limits) && i > limits[bin] {
			bin++
		}
		n[bin] += float64(c)
	}
	return n
}

// quantile returns the index of the bound that is the q-quantile of the answers' times.
func (s Sample) quantile(q float64) int {
	want, sum := q*float64(s.answers()), 0.0
	for i, c := range s.Counts {
		if sum += float64(c); sum >= want {
			return i
		}
	}
	return len(s.Counts) - 1
}

// atOrAbove returns the index of the first bound that is at least d.
func (s Sample) atOrAbove(d time.Duration) int {
	return min(sort.Search(len(s.Bounds), func(i int) bool { return s.Bounds[i] >= d }), len(s.Bounds)-1)
}
