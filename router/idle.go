package router

import (
	"slices"
	"sync"
)

// maxIdle limits an endpoint's idle connections of each kind. The least recently used one is closed.
const maxIdle = 256

// idleConns has an endpoint's idle connections.
type idleConns struct {
	mu     sync.Mutex
	closed bool
	shared []*wire // for any request; the one that was used last stands last
	// owned are those that have carried a body, each known to one client connection (see reuse).
	owned []*wire
	// parting are not used again. The peer knows that and closes them first, which keeps the port busy (TIME_WAIT) on the
	// peer's side: there are only some 28,000 ports from one address to another.
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

// last removes and returns the most recently used shared connection; nil if there is none.
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

// take returns an idle connection for a request; nil if there is none. own is the client's connection, for a request with a
// body. Each connection is checked first: the peer may have closed it, or sent unsolicited bytes that would be taken for the
// answer. A request that must not be sent twice gets no idle connection of a hasty endpoint.
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
