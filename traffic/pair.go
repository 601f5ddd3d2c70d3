package traffic

import "math"

// pair counts an outcome of both releases in one block of time: K of N requests had it.
type pair struct {
	oldN, oldK float64
	newN, newK float64
}

func (p pair) plus(o pair) pair {
	return pair{p.oldN + o.oldN, p.oldK + o.oldK, p.newN + o.newN, p.newK + o.newK}
}

// rates are the probabilities of an outcome at the old and at the new release.
type rates struct{ old, new float64 }

// logRatio returns the log-likelihood ratio of the counts: at the rates at, against the rates than.
func (p pair) logRatio(at, than rates) float64 {
	return bernoulli(p.oldK, p.oldN, at.old, than.old) + bernoulli(p.newK, p.newN, at.new, than.new)
}

func bernoulli(k, n, p, q float64) float64 {
	sum := 0.0
	if k > 0 {
		sum += k * math.Log(p/q)
	}
	if k < n {
		sum += (n - k) * math.Log((1-p)/(1-q))
	}
	return sum
}

// nearest returns the rates on the line new = old + gap that are nearest to r by Kullback-Leibler divergence, weighted
// by the numbers of requests (the reverse information projection). The likelihood ratio between r and these rates is an
// e-variable for all rates beyond the line (docs/verdict.md).
func (p pair) nearest(r rates, gap float64) rates {
	if gap == 0 {
		t := (p.oldN*r.old + p.newN*r.new) / (p.oldN + p.newN)
		return rates{t, t}
	}
	// The divergence is convex in the old rate: bisect its derivative.
	low, high := max(0, -gap)+tiny, min(1, 1-gap)-tiny
	for range 40 {
		t := (low + high) / 2
		slope := p.oldN*(t-r.old)/(t*(1-t)) + p.newN*(t+gap-r.new)/((t+gap)*(1-t-gap))
		if slope > 0 {
			high = t
		} else {
			low = t
		}
	}
	t := (low + high) / 2
	return rates{t, t + gap}
}

// tiny keeps rates away from 0 and 1: there a single contrary request would be infinite evidence.
const tiny = 1e-6

func clamp(p float64) float64 { return min(max(p, tiny), 1-tiny) }
