package traffic

import (
	"fmt"
	"math"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Guard is a property in which the new release must not be worse.
type Guard string

// The guards. Users choose Errors, Latency, CPU, Memory and Logs, and name metrics of their app. Gross changes (failures,
// hanging requests, other answers, instances without memory) stop a cross-fade whatever its guards are.
const (
	Errors  Guard = "errors"  // the share of requests that fail
	Latency Guard = "latency" // the time to answer, at seven quantiles of the old release's
	CPU     Guard = "cpu"     // the processor time of a request
	Memory  Guard = "memory"  // the memory that the fullest instance uses
	Logs    Guard = "logs"    // the log lines of level error of a request
	Answers Guard = "answers" // the classes of status and the lengths of answers
	Few     Guard = "clients" // a warning, that few clients make most of the requests
	Shares  Guard = "shares"  // the shares of requests, which must match the weights
)

// Metric returns the guard of an app's own counter.
func Metric(name string) Guard { return Guard("metric " + name) }

// The tolerances: how much higher the rate of an outcome may be before it counts as worse.
const (
	ErrorsTolerance = 0.0002 // two more of ten thousand: no two releases behave exactly alike
	slowTolerance   = 0.002
	grossTolerance  = 0.1
)

// quantiles of the old release's answers are the times that latency is compared at.
var quantiles = [...]float64{.1, .25, .5, .75, .9, .95, .99}

// p95 and p99 are indices of quantiles. An answer that takes longer than the old release's 99th percentile with the margin
// is slow: it counts as harmed if the old release would have answered it faster.
const (
	p95 = 5
	p99 = 6
)

// times are the limits that answers are compared with. They are chosen from the old release's history.
type times struct {
	Old [len(quantiles)]int `json:"old"` // indices of bounds: the old release's quantiles
	New [len(quantiles)]int `json:"new"` // the same with the margin added
	// Late is how long a request may be under way before it counts as late.
	Late time.Duration `json:"late"`
}

// leastAnswers is the least number of the old release's answers from which limits are chosen.
const leastAnswers = 20

// latest is the shortest time after which a running request counts as late: the figures are read once per second.
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

// limits returns the limit of the old release near a bound, and the limit of the new release with the margin added. Both
// must be bounds of the histogram, so it picks the pair whose distance is closest to the margin, and never below it.
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

// Margins are how much worse the new release may be and still counts as no worse.
type Margins struct {
	Errors  float64 `json:"errors"`  // difference of shares, 0 to 1
	Latency float64 `json:"latency"` // ratio above 1: 0.2 is 20 % longer
	// Floor is a difference in latency that counts as no worse whatever the ratio: users don't notice it, and the caches of
	// a release with few requests are colder.
	Floor time.Duration `json:"floor"`
}

// After returns how long the new release may take for an answer that takes d in the old release.
func (m Margins) After(d time.Duration) time.Duration {
	return max(time.Duration(float64(d)*(1+m.Latency)), d+m.Floor)
}

// DefaultFloor is the floor of every comparison of latencies.
const DefaultFloor = 5 * time.Millisecond

// DefaultMargins are half a point of errors and a fifth of the latency, or 5 ms.
var DefaultMargins = Margins{Errors: cloud.DefaultErrors, Latency: cloud.DefaultLatency, Floor: DefaultFloor}

// percent formats part as a percentage of whole.
func percent(part, whole float64) string {
	if whole == 0 {
		return "none"
	}
	return fmt.Sprintf("%.2f %%", 100*part/whole)
}
