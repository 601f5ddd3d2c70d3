package simulate

import (
	"math"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/protoduction/micro/traffic"
)

// Release is how a made-up release answers.
type Release struct {
	Failing  float64 // share of requests that fail
	NotFound float64 // share that is answered with 404
	Slower   float64 // factor of the time to answer; 0 stands for 1
	Hangs    bool    // its requests end after a minute, without an answer
	// Outage is how long everything fails, once in Every.
	Outage, Every time.Duration
}

// Latency draws the time that one request takes.
type Latency func(*rand.Rand) time.Duration

// LogNormal has a median of 40 ms and sigma ½: its 95th percentile is 91 ms.
func LogNormal(r *rand.Rand) time.Duration {
	return time.Duration(40e6 * math.Exp(r.NormFloat64()/2))
}

// Pareto has so heavy a tail, at 1.1, that its mean hardly exists.
func Pareto(r *rand.Rand) time.Duration {
	return time.Duration(10e6 * math.Pow(1-r.Float64(), -1/1.1))
}

// Cliff answers 95 % at once and 5 % after a second.
func Cliff(r *rand.Rand) time.Duration {
	if r.Float64() < .05 {
		return time.Second
	}
	return 10 * time.Millisecond
}

// bounds are those of a histogram with 32 buckets for each power of two.
var bounds = func() (b []time.Duration) {
	for octave := time.Millisecond; octave < 2*time.Minute; octave *= 2 {
		for i := range time.Duration(32) {
			b = append(b, octave+octave*i/32)
		}
	}
	return b
}()

func bucket(d time.Duration) int {
	return min(sort.Search(len(bounds), func(i int) bool { return bounds[i] >= d }), len(bounds)-1)
}

// Each release has some instances, whose first answers are slow and are left out, as on a live host.
const (
	instances = 2
	warmup    = 50
	warmLeast = 10
	warmTime  = 2 * time.Minute
)

// server is a release and what it has done.
type server struct {
	Release
	did traffic.Sample
	// cold are the answers that the first requests of each instance still miss in the counts of latencies, and warmFrom
	// when an instance is warm at the latest. The router leaves them out in the same way.
	cold     int
	warmFrom time.Duration
	hanging  []time.Duration // when the requests that hang will end
	phase    time.Duration   // of its outages
	// harmed are requests that failed or were slow, and would not have been at the old release or at one that is
	// slower by just the margin.
	harmed int
}

func newServer(r Release, rng *rand.Rand) *server {
	s := &server{Release: r, did: traffic.Sample{Bounds: bounds, Counts: make([]uint64, len(bounds))}}
	if r.Every > 0 {
		s.phase = time.Duration(rng.Int64N(int64(r.Every)))
	}
	if r.Slower == 0 {
		s.Slower = 1
	}
	return s
}

// serve answers n requests. usual is how the old release is, whose answers are not slow up to limit.
func (s *server) serve(rng *rand.Rand, n int, latency Latency, now time.Duration, usual Release, m traffic.Margins, limit time.Duration) {
	for len(s.hanging) > 0 && s.hanging[0] <= now {
		s.hanging = s.hanging[1:]
		s.end(5)
	}
	down := s.Every > 0 && (now+s.phase)%s.Every < s.Outage

	for range n {
		s.did.Started++
		if s.Hangs {
			s.hanging = append(s.hanging, now+time.Minute)
			s.harmed++
			continue
		}
		luck, took := rng.Float64(), latency(rng)
		slowed := time.Duration(float64(took) * s.Slower)
		if s.cold > 0 {
			s.cold-- // slower for a cold cache
			if s.warmFrom == 0 {
				s.warmFrom = now + warmTime
			}
			if now >= s.warmFrom && s.cold <= instances*(warmup-warmLeast) {
				s.cold = 0
			}
			slowed *= 3
		} else {
			s.did.Counts[bucket(slowed)]++
		}
		switch {
		case down || luck < s.Failing:
			s.end(5)
		case luck > 1-s.NotFound:
			s.end(4)
		default:
			s.end(2)
		}
		if (down || luck < s.Failing) && luck >= usual.Failing || luck > 1-s.NotFound || slowed > limit && m.After(took) <= limit && s.cold == 0 {
			s.harmed++
		}
	}
}

func (s *server) end(class int) {
	s.did.Ended++
	s.did.Requests++
	s.did.Classes[class]++
	if class == 5 {
		s.did.Errors++
	}
}

// poisson draws the number of events where the mean is expected.
func poisson(r *rand.Rand, mean float64) int {
	if mean > 50 {
		return int(max(0, math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	n, p, end := 0, r.Float64(), math.Exp(-mean)
	for ; p > end; n++ {
		p *= r.Float64()
	}
	return n
}
