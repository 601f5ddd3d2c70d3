package store

import (
	"context"
	"errors"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

const (
	// commitTimeout is how long an engine may take: a majority of its nodes may be unreachable.
	commitTimeout = 10 * time.Second
	// conflictTimeout is how long a change is retried while other nodes keep committing first.
	conflictTimeout = 10 * time.Second
)

// request is an Update or Record that waits for its transaction.
type request struct {
	ctx   context.Context
	lines []Line
	fn    func(*cloud.State) ([]cloud.Change, error) // nil: the request only writes audit lines

	done     bool
	state    *cloud.State
	err      error
	panicked any
}

// Update applies the changes that fn returns and writes an audit line in the same transaction. It returns the
// new state once that is durable. fn must be pure: it may run again on a newer state, in another goroutine.
// If fn returns no changes, nothing is written.
//
// Update returns fn's error as it is, Unavailable if the engine fails, and Conflict if other nodes kept
// committing first. After an error nothing was changed, unless the error wraps kv.ErrUnknown.
func (s *Store) Update(ctx context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	return s.submit(&request{ctx: ctx, fn: fn, lines: []Line{{Actor: by, Verb: verb, Object: object, Result: ResultDone}}})
}

// Record writes an audit line about an event that changes no state: a shell in an instance, a login.
func (s *Store) Record(ctx context.Context, by cloud.Actor, verb, object, result string) error {
	_, err := s.submit(&request{ctx: ctx, lines: []Line{{Actor: by, Verb: verb, Object: object, Result: result}}})
	return err
}

// submit queues a request and returns when it has been committed, by this goroutine or an earlier one.
func (s *Store) submit(r *request) (*cloud.State, error) {
	s.mu.Lock()
	s.queue = append(s.queue, r)
	s.mu.Unlock()
	func() {
		s.committing.Lock()
		defer s.committing.Unlock()
		for !r.done {
			s.commitNext()
		}
	}()
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.state, r.err
}

// run calls the request's function. A panic is kept for the goroutine that submitted the request.
func (r *request) run(state *cloud.State) (changes []cloud.Change, err error) {
	if err := r.ctx.Err(); err != nil || r.fn == nil {
		return nil, err
	}
	defer func() { r.panicked = recover() }()
	return r.fn(state)
}

// commitNext commits as many waiting requests as fit into one transaction.
func (s *Store) commitNext() {
	s.mu.Lock()
	waiting := s.queue
	s.mu.Unlock()
	for began := time.Now(); time.Since(began) < conflictTimeout; {
		d := s.newBatch(waiting)
		rev, err := d.headRev, error(nil)
		if len(d.lines) > 0 {
			rev, err = s.commit(d)
		}
		if errors.Is(err, kv.ErrConflict) {
			if err = s.awaitHead(d.headRev); err == nil {
				continue
			}
		}
		s.finish(d, rev, err)
		return
	}
	s.finish(s.newBatch(waiting), 0, cloud.Errorf(cloud.Conflict, "other nodes kept changing the cloud for %s", conflictTimeout).WithHint("try again"))
}

func (s *Store) commit(d *batch) (int64, error) {
	txn, err := d.txn()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	rev, err := s.engine.Commit(ctx, txn)
	switch {
	case errors.Is(err, kv.ErrUnknown):
		// The engine accepts nothing else until it knows. If the change was made, the watch will bring it.
		err = cloud.Errorf(cloud.Unavailable, "the store did not answer within %s, and the change may have been made: %w", commitTimeout, err).WithHint("check whether it was made before you try again")
	case errors.Is(err, kv.ErrClosed) || errors.Is(err, context.DeadlineExceeded):
		err = cloud.Errorf(cloud.Unavailable, "write the change: %w", err)
	}
	return rev, err
}

// awaitHead waits for a head that is not of the engine's revision rev.
func (s *Store) awaitHead(rev int64) error {
	timeout := time.NewTimer(commitTimeout)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		changed, differs := s.changed, s.headRev != rev
		s.mu.Unlock()
		if differs {
			return nil
		}
		select {
		case <-changed:
		case <-timeout.C:
			return cloud.Errorf(cloud.Unavailable, "another node changed the cloud, and its change did not arrive within %s", commitTimeout)
		}
	}
}

// finish applies a committed batch to the state, and sets the results of its requests.
func (s *Store) finish(d *batch, rev int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = s.queue[len(d.requests):]
	if err == nil && rev > s.seen {
		s.setState(s.applyChanges(d.head, d.changes), d.head, rev)
	}
	for _, r := range d.requests {
		r.done = true
		if r.err == nil && r.panicked == nil {
			r.state, r.err = s.state, err
		}
	}
}
