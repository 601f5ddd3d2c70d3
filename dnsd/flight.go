package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

const (
	hedgeAfter   = 500 * time.Millisecond // after this silence the next upstream is asked too
	maxUpstreams = 4                      // upstreams asked for one question, at most
)

var errNoUpstream = errors.New("no upstream resolver is known")

// flight is one lookup, shared by all clients that ask the same question meanwhile. It goes on after they
// stop waiting, so that a late reply is cached.
type flight struct {
	done  chan struct{} // closed after reply or err is set
	reply *reply
	err   error
}

// joinFlight returns the running lookup of a question, or starts one. It returns nil if that would exceed the
// client's limit of lookups.
func (f *Forwarder) joinFlight(key string, q question, client netip.Addr) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl, ok := f.flights[key]; ok {
		return fl
	}
	if f.closed || !f.lookups.take(client) {
		return nil
	}
	fl := &flight{done: make(chan struct{})}
	f.flights[key] = fl
	f.work.Go(func() {
		defer f.lookups.release(client)
		f.lookup(key, q, fl)
	})
	return fl
}

// finishFlight caches the result and hands it to the waiting clients.
func (f *Forwarder) finishFlight(key string, fl *flight, r *reply, err error) {
	if err == nil {
		f.cache.put(key, r)
	} else {
		f.cache.fail(key)
	}
	f.mu.Lock()
	delete(f.flights, key)
	f.mu.Unlock()
	fl.reply, fl.err = r, err
	close(fl.done)
}

// lookup asks the upstreams in order: the next one when the earlier ones have failed, or have been silent for
// hedgeAfter.
//
// The first positive answer wins. A negative answer counts only after all earlier upstreams have failed,
// because an internal resolver may be the only one that knows a company's own names. An earlier upstream
// that answers late replaces the cached answer of a later one.
func (f *Forwarder) lookup(key string, q question, fl *flight) {
	ups, changed := f.upstreams.order(*f.own.Load())
	if changed {
		f.cache.forgetFailures()
	}
	if len(ups) == 0 {
		f.finishFlight(key, fl, nil, errNoUpstream)
		return
	}
	r := newRace(f, ups[:min(len(ups), maxUpstreams)], q)
	defer r.cancel()
	for landed := false; ; {
		reply := r.next(!landed)
		switch {
		case reply != nil && landed:
			f.cache.put(key, reply)
		case reply != nil:
			f.finishFlight(key, fl, reply, nil)
			landed = true
		case landed:
			return
		default:
			err := errors.Join(append(r.errs, r.ctx.Err())...)
			f.cfg.Log.Debug("no upstream answers", "name", q.name, "err", err)
			f.finishFlight(key, fl, nil, err)
			return
		}
	}
}

// race asks several upstreams the same question.
type race struct {
	upstreams []*upstream
	q         question
	f         *Forwarder
	ctx       context.Context
	cancel    context.CancelFunc
	results   chan result
	asked     int
	replies   []*reply // by upstream index; a reply is held back while an earlier upstream may still answer
	failed    []bool   // by upstream index
	best      int      // index of the reply returned last; only earlier upstreams still count
	hedge     *time.Timer
	errs      []error
}

type result struct {
	place int
	reply *reply
	err   error
}

func newRace(f *Forwarder, ups []*upstream, q question) *race {
	n := len(ups)
	r := &race{upstreams: ups, q: q, f: f, results: make(chan result, n), replies: make([]*reply, n), failed: make([]bool, n), best: n}
	r.ctx, r.cancel = context.WithCancel(f.ctx)
	r.hedge = time.NewTimer(hedgeAfter)
	r.ask()
	for _, up := range ups[1:] {
		if up.takeProbe() { // the answer is not used, only that there is one
			f.work.Go(func() { _, _ = f.ask(f.ctx, up, q) })
		}
	}
	return r
}

// ask asks the next upstream, if there is one.
func (r *race) ask() {
	if r.asked == len(r.upstreams) {
		return
	}
	place := r.asked
	r.asked++
	r.hedge.Reset(hedgeAfter)
	r.f.work.Go(func() {
		res := result{place: place}
		answer, err := r.f.ask(r.ctx, r.upstreams[place], r.q)
		if err == nil {
			res.reply, err = r.f.newReply(r.q, answer)
		}
		res.err = err
		r.results <- res
	})
}

// next waits for a reply that counts and returns it, or nil if there will be none. It asks further upstreams
// only if more is set.
func (r *race) next(more bool) *reply {
	for {
		if place, ok := r.pick(); ok {
			r.best = place
			return r.replies[place]
		}
		if !r.waiting() {
			if !more || r.asked == len(r.upstreams) {
				return nil
			}
			r.ask()
		}
		select {
		case <-r.ctx.Done():
			return nil
		case <-r.hedge.C:
			if more {
				r.ask()
			}
		case res := <-r.results:
			r.replies[res.place] = res.reply
			if res.err == nil {
				continue
			}
			r.failed[res.place] = true
			r.errs = append(r.errs, fmt.Errorf("%s: %w", r.upstreams[res.place].addr, res.err))
			if more {
				r.ask()
			}
		}
	}
}

// pick returns the index of a reply that counts.
func (r *race) pick() (int, bool) {
	first := true // all earlier upstreams have failed
	for place := range r.best {
		if reply := r.replies[place]; reply != nil && (first || !reply.negative) {
			return place, true
		}
		first = first && r.failed[place]
	}
	return 0, false
}

// waiting reports whether a reply that counts may still arrive.
func (r *race) waiting() bool {
	for place := range min(r.asked, r.best) {
		if r.replies[place] == nil && !r.failed[place] {
			return true
		}
	}
	return false
}
