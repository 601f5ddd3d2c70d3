package traffic

import (
	"fmt"
	"math"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Guard is something that the new release may not be worse at.
type Guard string

// The guards. What fails, hangs or answers otherwise by the dozen stops a cross-fade whatever its guards are: Errors and
// Latency alone are to be chosen.
const (
	Errors  Guard = "errors"  // the share of requests that fail
	Latency Guard = "latency" // the time to answer, at five quantiles of the old release's
	Answers Guard = "answers" // the classes of status and the lengths of answers
	Memory  Guard = "memory"  // instances that fill their memory
	Shares  Guard = "shares"  // of the requests, which must be like the weights
)

// The tolerances: how much likelier an outcome may become before that counts as worse.
const (
	ErrorsTolerance = 0.0002 // nobody notices two in ten thousand, and no release is exactly like another
	slowTolerance   = 0.002
	grossTolerance  = 0.1
)

// quantiles of the old release's answers are the times that latency is compared at.
var quantiles = [...]float64{.1, .25, .5, .75, .9, .95, .99}

// p95 is the index of the quantile that a slow request exceeds.
const p95 = 5

// times are the limits that answers are held against. They are chosen from what was counted before.
type times struct {
	Old [len(quantiles)]int `json:"old"` // indices of bounds: the old release's quantiles
	New [len(quantiles)]int `json:"new"` // the same with the margin added
	// Late is how long a request may be under way before it counts as late.
	Late time.Duration `json:"late"`
}

// leastAnswers is how many answers of the old release the limits are chosen from.
const leastAnswers = 20

// latest is the earliest that a request under way counts as late: the figures are read once a second.
const latest = time.Second

// chooseTimes returns the limits for a history of the old release.
func chooseTimes(old Sample, m Margins) times {
	t := times{}
	for i, q := range quantiles {
		t.Old[i], t.New[i] = old.limits(old.quantile(q), m)
	}
	t.Late = max(m.After(old.Bounds[t.Old[len(quantiles)-1]]), latest)
	return t
}

// limits returns the limits near a bound of the old release: times only lie on bounds, and among the next ones
// there is one where the margin comes out best. It never is less than asked for.
func (s Sample) limits(near int, m Margins) (old, new int) {
	best := math.Inf(1)
	for i := max(0, near-2); i <= min(near+2, len(s.Bounds)-1); i++ {
		to := s.atOrAbove(m.After(s.Bounds[i]))
		if more := float64(s.Bounds[to]) / float64(m.After(s.Bounds[i])); more < best {
			best, old, new = more, i, to
		}
	}
	return old, new
}

// Margins are how much worse still counts as no worse.
type Margins struct {
	Errors  float64 `json:"errors"`  // difference of shares, 0 to 1
	Latency float64 `json:"latency"` // ratio above 1: 0.2 is 20 % longer
	// Floor is a difference in latency that is no worse whatever its ratio: nobody notices it, and a
	// release that gets few requests answers each from colder caches.
	Floor time.Duration `json:"floor"`
}

// After is how long an answer of the new release may take that would have taken d from the old one.
func (m Margins) After(d time.Duration) time.Duration {
	return max(time.Duration(float64(d)*(1+m.Latency)), d+m.Floor)
}

// DefaultFloor is the floor of every comparison of latencies.
const DefaultFloor = 5 * time.Millisecond

// DefaultMargins are half a point of errors and a fifth of the latency, or 5 ms.
var DefaultMargins = Margins{Errors: cloud.DefaultErrors, Latency: cloud.DefaultLatency, Floor: DefaultFloor}

// percent shows a part of a whole.
func percent(part, whole float64) string {
	if whole == 0 {
		return "none"
	}
	return fmt.Sprintf("%.2f %%", 100*part/whole)
}
