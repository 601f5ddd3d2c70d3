package cloud

import (
	"context"
	"time"
)

// Never is a wait for nothing but a change.
const Never = 24 * time.Hour

// LongestTimer is how long a wait for a time of day may be at most. No timer notices that the clock was set, by hand
// or because the machine started with a wrong one.
const LongestTimer = 30 * time.Second

// Until returns how long to wait for t; zero is Never. The wait may end before t: then the caller asks again.
func Until(t, now time.Time) time.Duration {
	if t.IsZero() {
		return Never
	}
	return min(max(t.Sub(now), 10*time.Millisecond), LongestTimer)
}

// Changes waits for a view other than old.
type Changes interface {
	Changed(ctx context.Context, old View) (View, error)
}

// ChangedWithin returns another view than old as soon as there is one, or old after wait. It fails when ctx ends.
func ChangedWithin(ctx context.Context, c Changes, old View, wait time.Duration) (View, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	view, err := c.Changed(waiting, old)
	if ctx.Err() != nil {
		return old, ctx.Err()
	}
	if err != nil {
		return old, nil // time is up
	}
	return view, nil
}
