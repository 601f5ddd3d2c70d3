package runtime

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	// quickRestarts is how often in a row an instance is started again at once.
	quickRestarts = 3
	firstBackoff  = 30 * time.Second
	lastBackoff   = 16 * time.Minute
	// goodRun is how long an instance must have been ready for its end to count as the first again.
	goodRun = 5 * time.Minute
)

// crashed adds the end of an instance to what is known of its slot: it is started again at once three
// times, then after 30 s, doubled each time, up to 16 min.
func crashed(before *cloud.Crashes, i *cloud.Instance, end cloud.Exit, reason string, ran time.Duration, fatal bool) *cloud.Crashes {
	c := cloud.Crashes{Slot: i.Slot, Generation: i.Generation, Last: end, Reason: reason, Fatal: fatal, Count: 1, Total: 1}
	if before != nil {
		c.Total = before.Total + 1
		if before.Generation == i.Generation && ran < goodRun {
			c.Count = before.Count + 1
		}
	}
	c.NextTry = end.At.Add(backoff(c.Count, fatal))
	return &c
}

// backoff is how long to wait before the start after count ends in a row.
func backoff(count int, fatal bool) time.Duration {
	if !fatal && count <= quickRestarts {
		return 0
	}
	d := firstBackoff
	for n := quickRestarts + 1; n < count && d < lastBackoff; n++ {
		d *= 2
	}
	return min(d, lastBackoff)
}

// waits says whether the next start is not due yet. One that is further away than any pause was set by a
// clock that has been set back since: it is due, for nobody knows by how much.
func waits(c *cloud.Crashes, now time.Time) bool {
	left := c.NextTry.Sub(now)
	return left > 0 && left <= lastBackoff
}
