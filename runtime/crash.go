package runtime

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	// quickRestarts is how often in a row an instance is restarted without a pause.
	quickRestarts = 3
	firstBackoff  = 30 * time.Second
	lastBackoff   = 16 * time.Minute
	// stableRun is how long an instance must have been ready for its crash count to start again at one.
	stableRun = 5 * time.Minute
)

// crashed returns the crash count of a slot after another end of its instance. The slot is restarted at once three
// times, then after 30 s, which doubles each time, up to 16 min.
func crashed(before *cloud.Crashes, i *cloud.Instance, end cloud.Exit, reason string, ran time.Duration, fatal bool) *cloud.Crashes {
	c := cloud.Crashes{Slot: i.Slot, Node: i.Node, Generation: i.Generation, Last: end, Reason: reason, Fatal: fatal, Count: 1, Total: 1}
	if before != nil {
		c.Total = before.Total + 1
		if before.Generation == i.Generation && ran < stableRun {
			c.Count = before.Count + 1
		}
	}
	c.NextTry = end.At.Add(backoff(c.Count, fatal))
	return &c
}

// backoff returns how long to wait before a restart after count ends in a row.
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

// mustWait reports whether the next start is not due yet. If it is further away than the longest pause, the clock
// has been set back since by an unknown amount, so it counts as due.
func mustWait(c *cloud.Crashes, now time.Time) bool {
	left := c.NextTry.Sub(now)
	return left > 0 && left <= lastBackoff
}
