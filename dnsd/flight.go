package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

const (
	hedgeAfter   = 500 * time.Millisecond // the next upstream is asked where the ones before are silent
	maxUpstreams = 4                      // asked for one question
)

var errNoUpstream = errors.New("no upstream resolver is known")

// flight is one look-up, shared by all clients who ask the same meanwhile. It does not end with their
// patience: what comes late is for the cache.
type flight struct {
	done  chan struct{} // closed when reply or err is set
	reply *reply
	err   error
}

// fly joins the look-up of a question, or starts it on the client's account; nil where the client has too
// many under way.
func (f *Forwarder) fly(key string, q question, client netip.Addr) *flight {
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

// land ends a flight for its clients.
func (f *Forwarder) land(key string, fl *flight, r *reply, err error) {
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

// lookup asks the upstreams in their order: the next one where the ones before failed, or where they have
// been silent for a while.
//
// A positive answer counts at once, whoever gave it. A negative one only counts when all upstreams before
// have failed: only one of several may know a company's own names, and the others deny them. Whoever is
// still asked then may answer late, and replaces in the cache what an upstream behind it said.
func (f *Forwarder) lookup(key string, q question, fl *flight) {
	ups, changed := f.upstreams.order(*f.own.Load())
	if changed {
		f.cache.forgetFailures()
	}
	if len(ups) == 0 {
		f.land(key, fl, nil, errNoUpstream)
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
			f.land(key, fl, reply, nil)
			landed = true
		case landed:
			return
		default:
			err := errors.Join(append(r.errs, r.ctx.Err())...)
			f.cfg.Log.Debug("no upstream answers", "name", q.name, "err", err)
			f.land(key, fl, nil, err)
			return
		}
	}
}

// race is the attempts for one question at several upstreams.
type race struct {
	upstreams []*upstream
	q         question
	f         *Forwarder
	ctx       context.Context
	cancel    context.CancelFunc
	results   chan result
	asked     int
	replies   []*reply // by place; held where an earlier place may still answer
	failed    []bool   // by place
	best      int      // the place of the reply returned last; only those before it count
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
		if up.takeProbe() { // whether it answers is all that matters
			f.work.Go(func() { _, _ = f.ask(f.ctx, up, q) })
		}
	}
	return r
}

// ask asks the upstream at the next place.
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

// next waits for a reply that counts; nil where none will come. With more, further upstreams are asked.
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

// pick returns the place of a reply that counts.
func (r *race) pick() (int, bool) {
	first := true // all upstreams before have failed
	for place := range r.best {
		if reply := r.replies[place]; reply != nil && (first || !reply.negative) {
			return place, true
		}
		first = first && r.failed[place]
	}
	return 0, false
}

// waiting reports whether a reply may come that would count.
func (r *race) waiting() bool {
	for place := range min(r.asked, r.best) {
		if r.replies[place] == nil && !r.failed[place] {
			return true
		}
	}
	return false
}
