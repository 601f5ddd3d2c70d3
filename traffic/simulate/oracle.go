package simulate

import (
	"math"
	"math/rand/v2"

	"github.com/protoduction/micro/traffic"
)

// Oracle returns how many requests a new release harms until the best of all tests finds it: a sequential probability ratio
// test that knows both releases beforehand, watches for this one harm alone, and has all of alpha for it. No test that is
// wrong as rarely needs fewer requests on average (Wald and Wolfowitz, 1948), so no pace can cost less. fresh differs from
// old in Failing or in Slower.
func Oracle(seed uint64, old, fresh Release, m traffic.Margins) (requests, harmed int) {
	rng := rand.New(rand.NewPCG(seed, 48))
	limit, sum := -math.Log(traffic.DefaultAlpha), 0.0
	for ; sum < limit; requests++ {
		luck := rng.Float64()
		if fresh.Slower > 1+m.Latency {
			// The logarithm of a log-normal time is normal. The nearest release that is no worse is slower by the margin.
			const sigma, p99 = 0.5, 2.3263
			shift := math.Log(fresh.Slower/(1+m.Latency)) / sigma
			z := rng.NormFloat64()
			sum += shift*(z+shift) - shift*shift/2
			if z <= p99 && z+shift > p99 {
				harmed++
			}
			continue
		}
		p, q := fresh.Failing, old.Failing+traffic.ErrorsTolerance
		if luck < p {
			sum += math.Log(p / q)
		} else {
			sum += math.Log((1 - p) / (1 - q))
		}
		if luck < p && luck >= old.Failing {
			harmed++
		}
	}
	return requests, harmed
}
