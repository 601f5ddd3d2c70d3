package router

import (
	"context"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// drainBit in an endpoint's count says that it takes no more requests.
	drainBit = math.MinInt64

	maxIdle      = 256
	connectLimit = time.Second
	// An endpoint that refuses connections is left out for ejectFirst, doubling to ejectMost.
	ejectFirst = 250 * time.Millisecond
	ejectMost  = 16 * time.Second
	// An endpoint that closes a connection within hastyWithin of its last answer counts as hasty for hastyFor.
	hastyWithin = time.Second
	hastyFor    = time.Minute
)

// Endpoint is an instance as the router reaches it. It lives on from table to table under its ID.
type Endpoint struct {
	ID      string
	Release string // "shop@r7"
	Addr    netip.AddrPort
	dial    func(context.Context) (net.Conn, error) // nil: TCP to Addr

	// count is the number of requests in flight, with drainBit.
	count     atomic.Int64
	served    atomic.Uint64 // requests that it was ever claimed for
	downUntil atomic.Int64  // on the router's clock
	failures  atomic.Int32  // to connect, in a row
	hasty     atomic.Int64  // until then it may close a connection that is being used again
	drained   chan struct{}
	drainOnce sync.Once

	mu   sync.Mutex
	idle []*wire // the last used one last
}

func newEndpoint(id, release string, addr netip.AddrPort) *Endpoint {
	return &Endpoint{ID: id, Release: release, Addr: addr, drained: make(chan struct{})}
}

// claim counts a request in before anything of it is sent, so that a drain can't miss it.
func (e *Endpoint) claim() bool {
	if e.count.Add(1) < 0 {
		e.release()
		return false
	}
	return true
}

// release counts a request out.
func (e *Endpoint) release() {
	if e.count.Add(-1) == drainBit {
		e.drainOnce.Do(func() { close(e.drained) })
	}
}

// drain refuses claims from now on and closes idle connections; e.drained is closed when nothing is in
// flight any more.
func (e *Endpoint) drain() {
	if e.count.Or(drainBit) == 0 {
		e.drainOnce.Do(func() { close(e.drained) })
	}
	e.mu.Lock()
	idle := e.idle
	e.idle = nil
	e.mu.Unlock()
	for _, w := range idle {
		w.close()
	}
}

func (e *Endpoint) draining() bool { return e.count.Load() < 0 }

// InFlight is the number of requests and upgraded connections that have not ended.
func (e *Endpoint) InFlight() int64 { return e.count.Load() &^ drainBit }

// load orders endpoints: by requests in flight, ejected ones after all others.
func (e *Endpoint) load(now int64) int64 {
	n := e.InFlight()
	if e.ejected(now) {
		n += 1 << 32
	}
	return n
}

func (e *Endpoint) ejected(now int64) bool { return e.downUntil.Load() > now }

// failed leaves the endpoint out for a while, longer each time.
func (e *Endpoint) failed(now int64) {
	n := min(e.failures.Add(1)-1, 8)
	e.downUntil.Store(now + int64(min(ejectFirst<<n, ejectMost)))
}

func (e *Endpoint) connected() {
	if e.failures.Load() != 0 {
		e.failures.Store(0)
		e.downUntil.Store(0)
	}
}

// take returns an idle connection, nil where there is none. For what is sent once only it has been looked
// at, and what the peer has closed is not handed out; nor is anything of a hasty one.
func (e *Endpoint) take(now, until int64, once bool) *wire {
	if once && e.hasty.Load() > now {
		return nil
	}
	for {
		e.mu.Lock()
		n := len(e.idle)
		if n == 0 {
			e.mu.Unlock()
			return nil
		}
		w := e.idle[n-1]
		e.idle[n-1] = nil
		e.idle = e.idle[:n-1]
		e.mu.Unlock()
		if w.read.arm(until) {
			if !once || !w.stale() {
				return w
			}
			e.closed(w, now)
		}
		w.close()
		if once && e.hasty.Load() > now {
			return nil
		}
	}
}

// closed notes that the peer has closed a connection that was idle.
func (e *Endpoint) closed(w *wire, now int64) {
	if now-w.idleSince < int64(hastyWithin) {
		e.hasty.Store(now + int64(hastyFor))
	}
}

// give takes a connection back for the next request.
func (e *Endpoint) give(w *wire, now, until int64) {
	w.idleSince = now
	if !w.read.arm(until) {
		w.close()
		return
	}
	e.mu.Lock()
	// Looked at under the lock: drain sets the bit first and empties the list then.
	keep := !e.draining() && len(e.idle) < maxIdle
	if keep {
		e.idle = append(e.idle, w)
	}
	e.mu.Unlock()
	if !keep {
		w.close()
	}
}

// evict closes a connection whose time has come, if it is idle.
func (e *Endpoint) evict(w *wire) {
	e.mu.Lock()
	found := false
	for i, o := range e.idle {
		if o == w {
			e.idle = append(e.idle[:i], e.idle[i+1:]...)
			found = true
			break
		}
	}
	e.mu.Unlock()
	if found {
		w.close()
	}
}

// connect makes a new connection.
func (e *Endpoint) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	if e.dial != nil {
		return e.dial(ctx)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", e.Addr.String())
}
