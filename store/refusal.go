package store

import (
	"context"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// A flood of refused requests must not load the store or push other lines out of the audit log. So similar
// refusals share a line with a count, and the rate of lines is limited.
const (
	refusalKinds = 32               // kinds with lines of their own at a time; all others share a line
	refusalPause = time.Second      // wait for similar refusals before writing
	refusalBurst = 20               // lines that may be written at once
	refusalEvery = 30 * time.Second // after that, one more line in this time
)

// Refused records in the audit log that a request was not allowed. It does not wait: Run writes the line
// later, with the number of similar refusals.
func (s *Store) Refused(by cloud.Actor, verb, object string) {
	s.refusals.add(Line{Time: s.cfg.Now().UTC(), Actor: by, Verb: verb, Object: object, Result: ResultRefused, Count: 1})
}

type refusals struct {
	mu      sync.Mutex
	pending []Line    // one per kind, in the order of their first refusal
	allowed float64   // lines that may be written
	counted time.Time // when allowed was last computed
	wake    chan struct{}
}

func (r *refusals) start(now time.Time) {
	r.allowed, r.counted, r.wake = refusalBurst, now, make(chan struct{}, 1)
}

func (r *refusals) add(l Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.pending) >= refusalKinds && r.find(l) < 0 {
		l = Line{Time: l.Time, Actor: cloud.Actor{Name: "others"}, Verb: "others", Result: l.Result, Count: l.Count}
		if r.find(l) < 0 {
			break
		}
	}
	if i := r.find(l); i >= 0 {
		r.pending[i].Count += l.Count
	} else {
		r.pending = append(r.pending, l)
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// find returns the index of the pending line of l's kind, or -1. Source and request ID are not part of the
// kind, because a caller can choose as many as it likes.
func (r *refusals) find(l Line) int {
	for i, p := range r.pending {
		if p.Name == l.Name && p.Role == l.Role && p.Verb == l.Verb && p.Object == l.Object {
			return i
		}
	}
	return -1
}

// takeReady removes and returns the lines that may be written now (all lines if force is set), and how long to
// wait before the next.
func (r *refusals) takeReady(now time.Time, force bool) (lines []Line, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.allowed = min(refusalBurst, r.allowed+now.Sub(r.counted).Seconds()/refusalEvery.Seconds())
	r.counted = now
	n := min(len(r.pending), int(r.allowed))
	if force {
		n = len(r.pending)
	}
	lines, r.pending = r.pending[:n:n], r.pending[n:]
	r.allowed -= float64(n)
	if len(r.pending) > 0 {
		wait = refusalEvery
	}
	return lines, wait
}

// writeRefusals writes refusals to the audit log until ctx ends, and then those that are left.
func (s *Store) writeRefusals(ctx context.Context) {
	wait := time.Duration(0)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.refusals.wake:
		}
		select {
		case <-ctx.Done():
		case <-time.After(max(wait, refusalPause)):
		}
		wait = s.flushRefusals(ctx, ctx.Err() != nil)
	}
}

func (s *Store) flushRefusals(ctx context.Context, force bool) time.Duration {
	lines, wait := s.refusals.takeReady(s.cfg.Now(), force)
	if len(lines) > 0 {
		if _, err := s.submit(&request{ctx: context.WithoutCancel(ctx), lines: lines}); err != nil {
			s.log.Warn("cannot write refused requests to the audit log", "err", err)
			for _, l := range lines {
				s.refusals.add(l)
			}
			wait = refusalEvery
		}
	}
	if wait > 0 {
		select {
		case s.refusals.wake <- struct{}{}:
		default:
		}
	}
	return wait
}
