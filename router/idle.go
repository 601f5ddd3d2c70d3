package router

import (
	"slices"
	"sync"
)

// maxIdle bounds an endpoint's idle connections of each kind. The one that was used least lately is closed.
const maxIdle = 256

// idleConns are an endpoint's connections without a request.
type idleConns struct {
	mu     sync.Mutex
	closed bool
	shared []*wire // for any request; the one that was used last stands last
	// owned are those that have carried a body, each known to one client connection (see reuse).
	owned []*wire
	// parting are not to be used again. The peer, which knows that, may close them first: whoever closes first
	// keeps the port for a minute (TIME_WAIT), and one address has no more than some 28,000 for another.
	parting []*wire
}

// add takes w into list, which is one of i's, and returns a connection to close, if any.
func (i *idleConns) add(list *[]*wire, w *wire) (surplus *wire) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return w
	}
	if len(*list) >= maxIdle {
		surplus = (*list)[0]
		*list = slices.Delete(*list, 0, 1)
	}
	*list = append(*list, w)
	return surplus
}

// last removes and returns the shared connection that was used last, nil where there is none.
func (i *idleConns) last() *wire {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.shared)
	if n == 0 {
		return nil
	}
	w := i.shared[n-1]
	i.shared[n-1] = nil
	i.shared = i.shared[:n-1]
	return w
}

// first removes and returns a connection that has been idle for long, nil where there is none.
func (i *idleConns) first() *wire {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, list := range [...]*[]*wire{&i.parting, &i.owned, &i.shared} {
		if len(*list) > 0 {
			w := (*list)[0]
			*list = slices.Delete(*list, 0, 1)
			return w
		}
	}
	return nil
}

// remove removes w and tells whether it was there.
func (i *idleConns) remove(w *wire) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, list := range [...]*[]*wire{&i.owned, &i.shared, &i.parting} {
		if at := slices.Index(*list, w); at >= 0 {
			*list = slices.Delete(*list, at, at+1)
			return true
		}
	}
	return false
}

// closeAll closes all connections, and every one that is added from now on.
func (i *idleConns) closeAll() {
	i.mu.Lock()
	all := slices.Concat(i.shared, i.owned, i.parting)
	i.closed, i.shared, i.owned, i.parting = true, nil, nil, nil
	i.mu.Unlock()
	for _, w := range all {
		w.close()
	}
}

// take returns an idle connection for a request, nil where there is none. own is the client's, for a request
// with a body. Each is looked at first: what the peer has closed is of no use, and what it has said unasked
// would be taken for the answer. What may be sent once only gets no connection of a hasty endpoint.
func (e *Endpoint) take(now, until int64, own *wire, once bool) *wire {
	for ; !once || e.hasty.Load() <= now; own = nil {
		w := own
		if w == nil || w.owner != e || !e.idle.remove(w) {
			if w = e.idle.last(); w == nil {
				return nil
			}
		}
		if w.read.arm(until) {
			if !w.stale() {
				return w
			}
			e.closed(w, now)
		}
		w.close()
	}
	return nil
}

// closed notes that the peer has closed a connection that was idle.
func (e *Endpoint) closed(w *wire, now int64) {
	if now-w.idleSince < int64(hastyWithin) {
		e.hasty.Store(now + int64(hastyFor))
	}
}

// give leaves a connection to any next request, until then at most.
func (e *Endpoint) give(w *wire, now, until int64) { e.park(&e.idle.shared, w, now, until) }

// giveToOwner leaves a connection to the one client connection that knows it.
func (e *Endpoint) giveToOwner(w *wire, now, until int64) { e.park(&e.idle.owned, w, now, until) }

// part ends a connection after a whole answer.
func (e *Endpoint) part(w *wire, now int64) {
	if w.stale() {
		w.close()
		return
	}
	e.park(&e.idle.parting, w, now, now+int64(tick))
}

func (e *Endpoint) park(list *[]*wire, w *wire, now, until int64) {
	w.idleSince = now
	if w.read.arm(until) {
		w = e.idle.add(list, w)
	}
	if w != nil {
		w.close()
	}
}

// evict closes a connection whose time has come, if it is idle.
func (e *Endpoint) evict(w *wire) {
	if e.idle.remove(w) {
		w.close()
	}
}
