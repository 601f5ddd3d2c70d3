package main

import "math"

// upper returns the largest probability that is compatible with k events of n, with a confidence of 95 % (Clopper and
// Pearson, 1934).
func upper(k, n int) float64 {
	if k >= n {
		return 1
	}
	low, high := float64(k)/float64(n), 1.0
	for range 60 {
		p := (low + high) / 2
		if atMost(k, n, p) > 0.05 {
			low = p
		} else {
			high = p
		}
	}
	return high
}

// atMost returns the probability of at most k events of n.
func atMost(k, n int, p float64) (sum float64) {
	choose, _ := math.Lgamma(float64(n) + 1)
	for i := range k + 1 {
		a, _ := math.Lgamma(float64(i) + 1)
		b, _ := math.Lgamma(float64(n-i) + 1)
		sum += math.Exp(choose - a - b + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}
