package store

import (
	"context"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// A flood of refused requests must neither load the store nor push other lines out of the audit log: like
// ones share a line, and lines are bounded.
const (
	refusalKinds = 32               // that are told apart at a time; others share a line
	refusalPause = time.Second      // to gather like ones
	refusalBurst = 20               // lines at once
	refusalEvery = 30 * time.Second // one more line
)

// Refused notes that a request was not allowed. It does not wait: the line is written some time after,
// by Run, and says how many refusals it stands for.
func (s *Store) Refused(by cloud.Actor, verb, object string) {
	s.refusals.add(Line{Time: s.cfg.Now().UTC(), Actor: by, Verb: verb, Object: object, Result: ResultRefused, Count: 1})
}

type refusals struct {
	mu      sync.Mutex
	pending []Line // one a kind, in the order of their first
	allowed float64
	counted time.Time // when allowed was
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

// find is the index of the pending line of l's kind, -1 where there is none. Sources and request numbers
// do not tell refusals apart: a caller has as many as it likes.
func (r *refusals) find(l Line) int {
	for i, p := range r.pending {
		if p.Name == l.Name && p.Role == l.Role && p.Verb == l.Verb && p.Object == l.Object {
			return i
		}
	}
	return -1
}

// take returns the lines that may be written now, all of them with force, and how long to wait before
// more may.
func (r *refusals) take(now time.Time, force bool) (lines []Line, wait time.Duration) {
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

// writeRefusals writes refusals down until ctx ends, and then what is left.
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
	lines, wait := s.refusals.take(s.cfg.Now(), force)
	if len(lines) > 0 {
		if _, err := s.submit(&request{ctx: context.WithoutCancel(ctx), lines: lines}); err != nil {
			s.log.Warn("write down refused requests", "err", err)
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
