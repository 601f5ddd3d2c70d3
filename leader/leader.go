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

// retryAfter is the pause after a write that failed.
const retryAfter = time.Second
