package store

import (
	"context"
	"errors"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

const (
	// commitTimeout is how long an engine may take: a majority can be out of reach.
	commitTimeout = 10 * time.Second
	// conflictTimeout is how long a change is tried again while other nodes are faster.
	conflictTimeout = 10 * time.Second
)

// request is an Update or Record that waits for its transaction.
type request struct {
	ctx   context.Context
	lines []Line
	fn    func(*cloud.State) ([]cloud.Change, error) // nil for audit lines alone

	done     bool
	state    *cloud.State
	err      error
	panicked any
}

// Update changes the state by what fn makes of it, and writes an audit line in the same transaction. It
// returns the state after, once that is durable. fn must be pure: it may be run again, on a newer state,
// and by another goroutine. Where it returns no changes, all was as asked for, and nothing is written.
// An error of fn's is returned as it is; Unavailable is the engine's, Conflict means that other nodes were
// faster again and again. After an error nothing was changed, unless it wraps kv.ErrUnknown.
func (s *Store) Update(ctx context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	return s.submit(&request{ctx: ctx, fn: fn, lines: []Line{{Actor: by, Verb: verb, Object: object, Result: ResultDone}}})
}

// Record writes an audit line of something that changes no state: a shell in an instance, a login.
func (s *Store) Record(ctx context.Context, by cloud.Actor, verb, object, result string) error {
	_, err := s.submit(&request{ctx: ctx, lines: []Line{{Actor: by, Verb: verb, Object: object, Result: result}}})
	return err
}

// submit queues a request and sees to it that it is carried out, by this goroutine or by one that was
// here before.
func (s *Store) submit(r *request) (*cloud.State, error) {
	s.mu.Lock()
	s.queue = append(s.queue, r)
	s.mu.Unlock()
	func() {
		s.committing.Lock()
		defer s.committing.Unlock()
		for !r.done {
			s.carryOut()
		}
	}()
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.state, r.err
}

// run calls the request's function. A panic of it belongs to the goroutine that asked.
func (r *request) run(state *cloud.State) (changes []cloud.Change, err error) {
	if err := r.ctx.Err(); err != nil || r.fn == nil {
		return nil, err
	}
	defer func() { r.panicked = recover() }()
	return r.fn(state)
}

// carryOut commits as many of the waiting requests as fit into one transaction.
func (s *Store) carryOut() {
	s.mu.Lock()
	waiting := s.queue
	s.mu.Unlock()
	for began := time.Now(); time.Since(began) < conflictTimeout; {
		d := s.batch(waiting)
		rev, err := d.headRev, error(nil)
		if len(d.lines) > 0 {
			rev, err = s.commit(d)
		}
		if errors.Is(err, kv.ErrConflict) {
			if err = s.await(d.headRev); err == nil {
				continue
			}
		}
		s.finish(d, rev, err)
		return
	}
	s.finish(s.batch(waiting), 0, cloud.Errorf(cloud.Conflict, "other nodes kept changing the cloud for %s", conflictTimeout).WithHint("try again"))
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
		// The engine takes nothing else until it knows. If the change was made the watch brings it.
		err = cloud.Errorf(cloud.Unavailable, "the store did not answer within %s, and the change may have been made: %w", commitTimeout, err).WithHint("look before you try again")
	case errors.Is(err, kv.ErrClosed) || errors.Is(err, context.DeadlineExceeded):
		err = cloud.Errorf(cloud.Unavailable, "write the change: %w", err)
	}
	return rev, err
}

// await returns when another head than that of revision rev is known.
func (s *Store) await(rev int64) error {
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

// finish tells the batch's requests what became of them, and shows what is durable now.
func (s *Store) finish(d *batch, rev int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = s.queue[len(d.requests):]
	if err == nil && rev > s.seen {
		s.show(s.after(d.head, d.changes), d.head, rev)
	}
	for _, r := range d.requests {
		r.done = true
		if r.err == nil && r.panicked == nil {
			r.state, r.err = s.state, err
		}
	}
}
