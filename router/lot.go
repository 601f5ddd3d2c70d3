package router

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// The largest number and size of a host's waiting requests; further ones are refused as without holding.
	maxHeld      = 1024
	maxHeldBytes = 16 << 20
	// heldRetry is how often the first of the held requests tries, besides at each new table.
	heldRetry = 100 * time.Millisecond
	// heldLook is how often a held request looks whether its client is still there.
	heldLook = 250 * time.Millisecond
)

// lot is the queue of a host's waiting requests. Only the first one tries to find an instance. A lot is kept from table to
// table.
type lot struct {
	n               atomic.Int32 // requests in the queue
	most, mostBytes int          // how many there may be, and their size

	mu    sync.Mutex
	queue []*held
	bytes int
}

// held is a request that waits.
type held struct {
	size  int
	first chan struct{} // closed when it is the first
}

// enter takes a request in, nil where there is no room. One that has been the first before is that again.
func (l *lot) enter(size int, again bool) *held {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= l.most || l.bytes+size > l.mostBytes {
		return nil
	}
	h := &held{size: size, first: make(chan struct{})}
	at := len(l.queue)
	if again {
		at = 0
	}
	l.queue = slices.Insert(l.queue, at, h)
	l.bytes += size
	l.n.Add(1)
	if at == 0 {
		close(h.first)
	}
	return h
}

// leave takes a request out, and lets the next one try.
func (l *lot) leave(h *held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(l.queue, h)
	l.queue = slices.Delete(l.queue, at, at+1)
	l.bytes -= h.size
	l.n.Add(-1)
	if at == 0 && len(l.queue) > 0 {
		select {
		case <-l.queue[0].first:
		default:
			close(l.queue[0].first)
		}
	}
}

// claimOrHold counts the request in at an endpoint. Where none takes it and the route holds requests, it waits until
// one does, behind those of the host that wait already.
func (x *exchange) claimOrHold() fault {
	if p := x.route.parking; p != nil && !x.parked {
		x.parked = true
		return x.park(p)
	}
	l := x.route.lot
	if l == nil || x.limits.hold == 0 {
		return x.claim()
	}
	if l.n.Load() == 0 || !x.heldUntil.IsZero() {
		if f := x.claim(); f.code != faultNoEndpoints.code {
			return f
		}
	}
	return x.hold(l)
}

// hold waits in the lot for an endpoint.
func (x *exchange) hold(l *lot) fault {
	r := x.c.r
	begun := time.Now()
	again := !x.heldUntil.IsZero()
	if !again {
		x.heldUntil = begun.Add(x.limits.hold)
	}
	limit := x.limits.hold
	h := l.enter(len(x.buf), again)
	if h == nil {
		return faultHeldTooMany
	}
	defer func() {
		l.leave(h)
		x.Held += time.Since(begun)
	}()
	late := time.NewTimer(time.Until(x.heldUntil))
	defer late.Stop()
	look := time.NewTicker(heldLook)
	defer look.Stop()
	// Whoever has just failed to reach an instance waits a moment before it tries the same again.
	retry := time.NewTimer(heldRetry)
	defer retry.Stop()
	first, wait := h.first, len(x.tried) > 0
	for {
		// Taken before the attempt, so that no table is missed.
		swapped := r.nextTable()
		if first == nil && !wait {
			clear(x.tried)
			x.tried = x.tried[:0]
			if f := x.claim(); f.code != faultNoEndpoints.code {
				return f
			}
		}
		wait = true
		select {
		case <-first:
			first = nil // it is the first, and tries from now on
			wait = len(x.tried) > 0
		case <-swapped:
			wait = false
		case <-retry.C:
			retry.Reset(heldRetry)
			wait = false
		case <-look.C:
			if r.closing.Load() {
				return faultNoEndpoints
			}
			if x.c.w.departed() {
				return faultClientGone
			}
		case <-late.C:
			return faultHeld(limit)
		}
	}
}

// nextTable returns what is closed by the next Swap.
func (r *Router) nextTable() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.swapped
}

// departed tells that the client has reset its connection, or that somebody has closed it here.
func (w *wire) departed() bool {
	if reset, _ := w.left(); reset || w.gone.Load() {
		return true
	}
	_, errno := w.peek()
	return errno == syscall.EBADF
}
