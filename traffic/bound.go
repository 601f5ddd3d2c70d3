package traffic

import "math"

// Bounds returns a lower and an upper bound of the probability behind s successes in n independent
// trials. With probability 1-alpha the probability lies between the bounds at every n, from the first
// trial to the last, so they may be looked at after each.
//
// It is the beta-binomial mixture of Robbins (Statistical methods related to the law of the iterated
// logarithm, 1970): for the true p, the ratio of the trials' probability averaged over a Beta(½,½) prior
// to that under p is a martingale that starts at 1, and by Ville's inequality exceeds 1/alpha ever with
// probability alpha at most. The p for which it has not are the interval.
func Bounds(s, n uint64, alpha float64) (lower, upper float64) {
	if n == 0 || s > n {
		return 0, 1
	}
	successes, failures := float64(s), float64(n-s)
	mixture := logBeta(successes+0.5, failures+0.5) - logBeta(0.5, 0.5)
	limit := -math.Log(alpha)
	excess := func(p float64) float64 { // of the log ratio over the limit; convex in p, least at s/n
		return mixture - times(successes, math.Log(p)) - times(failures, math.Log1p(-p)) - limit
	}
	middle := successes / float64(n)
	return bisect(excess, 0, middle), bisect(excess, 1, middle)
}

// bisect finds where f crosses zero between outside, where it is positive, and inside, where it is not.
func bisect(f func(float64) float64, outside, inside float64) float64 {
	if f(outside) <= 0 {
		return outside // not excluded even there
	}
	for range 60 {
		p := (outside + inside) / 2
		if f(p) > 0 {
			outside = p
		} else {
			inside = p
		}
	}
	return outside
}

// times is a·b, and 0 where a is, whatever b.
func times(a, b float64) float64 {
	if a == 0 {
		return 0
	}
	return a * b
}

func logBeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}
