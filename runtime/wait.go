package runtime

import (
	"context"
	"time"

	"github.com/protoduction/micro/cloud"
)

// views is where the agent sees what is.
type views interface {
	View() cloud.View
	Changed(ctx context.Context, old cloud.View) (cloud.View, error)
}

const (
	// retryAfter is the pause after a start that failed.
	retryAfter = time.Second
	// never is as good as no time at all, and no trouble to a timer.
	never = 24 * time.Hour
	// longestTimer is the longest wait for a time of day: no timer notices that the clock was set, by hand or
	// because the machine started with a wrong one.
	longestTimer = 30 * time.Second
)

// until returns how long to wait for t; zero is never. The wait may end before t: then the caller asks again.
func until(t, now time.Time) time.Duration {
	if t.IsZero() {
		return never
	}
	return min(max(t.Sub(now), 10*time.Millisecond), longestTimer)
}

// changedWithin waits for another view, or until wait has passed.
func changedWithin(ctx context.Context, v views, old cloud.View, wait time.Duration) (cloud.View, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	view, err := v.Changed(waiting, old)
	if err != nil && ctx.Err() == nil {
		return view, nil
	}
	return view, err
}
