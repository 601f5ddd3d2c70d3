package traffic

import "time"

// Summary is what one release did in some time.
type Summary struct {
	Requests, Errors uint64
	Classes          [6]uint64
	// P50, P95 and P99 are the times to answer that so many percent did not exceed; 0 where none was timed.
	P50, P95, P99 time.Duration
	UnderWay      uint64 // requests that wait for their answer now
}

// Summarize returns what a release did between two samples.
func Summarize(now, then Sample) Summary {
	d := now.since(then)
	s := Summary{Requests: d.Requests, Errors: d.Errors, Classes: d.Classes, UnderWay: less(now.Started, now.Ended)}
	if d.answers() > 0 {
		s.P50, s.P95, s.P99 = d.Bounds[d.quantile(.5)], d.Bounds[d.quantile(.95)], d.Bounds[d.quantile(.99)]
	}
	return s
}
