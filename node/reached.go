package node

import (
	"context"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// reached is the revision that the router's table is of. Whoever changes a route waits for it: once
// micro unmap has returned, no request goes where it went before.
type reached struct {
	mu      sync.Mutex
	rev     cloud.Revision
	changed chan struct{} // closed, and made anew, at every new revision
}

func newReached() *reached { return &reached{changed: make(chan struct{})} }

func (r *reached) set(rev cloud.Revision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rev > r.rev {
		r.rev = rev
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

// longestWait is how long a change may wait for the router: it is written, whatever comes of that.
const longestWait = 5 * time.Second

// wait returns when the revision is reached, or has not been for too long.
func (r *reached) wait(ctx context.Context, rev cloud.Revision) {
	ctx, cancel := context.WithTimeout(ctx, longestWait)
	defer cancel()
	for {
		r.mu.Lock()
		at, changed := r.rev, r.changed
		r.mu.Unlock()
		if at >= rev {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
