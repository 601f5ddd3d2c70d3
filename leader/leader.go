package leader

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/protoduction/micro/cloud"
)

// Views shows the cloud as it is now.
type Views interface {
	View() cloud.View
	// Changed waits for a view other than old.
	Changed(ctx context.Context, old cloud.View) (cloud.View, error)
}

// Writer changes the state in micro's own name. change may be run again after a conflict.
type Writer interface {
	Write(ctx context.Context, verb, object string, change func(*cloud.State) ([]cloud.Change, error)) error
}

// Notes keeps what a duty must know after its process has died, beside the state: few and small values. With
// several nodes whoever leads next must find them, so a note is never about a node.
type Notes interface {
	// Load returns the values of all keys that start with prefix.
	Load(prefix string) (map[string][]byte, error)
	// Save returns once all values are durable, or none of them is.
	Save(values map[string][]byte) error
	Forget(keys ...string) error
}

// Events tells people what a duty did.
type Events interface {
	Note(e Event)
}

// Event is one thing that a duty did.
type Event struct {
	Group   cloud.GroupName
	App     cloud.AppName // "" where the event is of a host
	Release int           // 0 where it is of no release
	Kind    string        // such as "cron.done"
	Object  string        // what it happened to: a release, or a host with its path
	Text    string
}

// Duty is something that one node of a cloud does. Run returns nil when its context ends.
type Duty interface {
	Name() string
	Run(ctx context.Context) error
}

// Lead carries out all duties until ctx ends, or one of them fails.
func Lead(ctx context.Context, duties ...Duty) error {
	all, ctx := errgroup.WithContext(ctx)
	for _, d := range duties {
		all.Go(func() error {
			if err := d.Run(ctx); err != nil {
				return fmt.Errorf("%s: %w", d.Name(), err)
			}
			return nil
		})
	}
	return all.Wait()
}

const (
	// retryAfter is the pause after a write that failed.
	retryAfter = time.Second
	// never is a wait for nothing but a change.
	never = 24 * time.Hour
	// longestTimer is how long a wait for a time of day may be at most. No timer notices that the clock was
	// set, by hand or because the machine started with a wrong one.
	longestTimer = 30 * time.Second
)

// until returns how long to wait for t; zero is never. The wait may end before t: then the caller asks again.
func until(t, now time.Time) time.Duration {
	if t.IsZero() {
		return never
	}
	return min(max(t.Sub(now), 10*time.Millisecond), longestTimer)
}

// changedWithin returns another view than old as soon as there is one, or old after wait. It fails when ctx ends.
func changedWithin(ctx context.Context, v Views, old cloud.View, wait time.Duration) (cloud.View, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	view, err := v.Changed(waiting, old)
	if ctx.Err() != nil {
		return old, ctx.Err()
	}
	if err != nil {
		return old, nil // time is up
	}
	return view, nil
}
