package router

import (
	"sync"
	"time"
)

// tick is how often the watch looks at the limits.
const tick = 250 * time.Millisecond

// watch enforces the time limits of all connections, and detects clients that leave while they wait. One pass over ten
// thousand connections costs less than a timer per request.
type watch struct {
	now         func() int64
	descriptors *descriptors

	mu      sync.Mutex
	running bool
	wires   []*wire
}

func (h *watch) add(w *wire) {
	h.mu.Lock()
	w.index = len(h.wires)
	h.wires = append(h.wires, w)
	if !h.running {
		h.running = true
		go h.run() // ends with the last connection
	}
	h.mu.Unlock()
}

// remove takes a connection out and tells whether it was there.
func (h *watch) remove(w *wire) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.index < 0 {
		return false
	}
	last := h.wires[len(h.wires)-1]
	h.wires[w.index], last.index = last, w.index
	h.wires[len(h.wires)-1] = nil
	h.wires = h.wires[:len(h.wires)-1]
	w.index = -1
	return true
}

func (h *watch) run() {
	t := time.NewTicker(tick)
	defer t.Stop()
	var idle []*wire
	for n := 0; ; n++ {
		<-t.C
		h.mu.Lock()
		if len(h.wires) == 0 {
			h.running = false
			h.mu.Unlock()
			return
		}
		now := h.now()
		for _, w := range h.wires {
			if w.read.pass(now) {
				_ = w.SetReadDeadline(longAgo)
				if w.owner != nil {
					idle = append(idle, w)
				}
			}
			w.checkWrite(now)
			if since := w.waiting.Load(); n%4 == 0 && since > 0 && now-since > int64(time.Second) {
				w.checkGone(since, now)
			}
		}
		h.mu.Unlock()
		for i, w := range idle {
			w.owner.evict(w)
			idle[i] = nil
		}
		idle = idle[:0]
	}
}

// checkGone ends the wait for a client that has reset its connection. A client that has only closed its sending side may still
// want the answer, and can't be distinguished from one that has left. So the wait continues until its limit.
func (w *wire) checkGone(since, now int64) {
	reset, half := w.left()
	reset = reset || w.gone.Load()
	if !reset {
		if !half {
			return
		}
		if w.halfSince == 0 {
			w.halfSince = now
		}
		if limit := w.halfLimit.Load(); limit == 0 || now-w.halfSince < limit {
			return
		}
	}
	up := w.up.Load()
	if up == nil {
		return
	}
	// The upstream may be another client's by now: then its limit has changed too, and we do nothing.
	at := up.read.at.Load()
	if w.up.Load() != up || w.waiting.Load() != since {
		return
	}
	if at >= 0 && up.read.at.CompareAndSwap(at, cancelled) {
		if reset {
			w.gone.Store(true)
		} else {
			w.halfExpired.Store(true)
		}
		_ = up.SetReadDeadline(longAgo)
	}
}
