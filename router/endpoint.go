package router

import (
	"context"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h2"
)

const (
	// drainBit in an endpoint's count means that it takes no more requests.
	drainBit = math.MinInt64

	connectLimit = time.Second
	// An endpoint that refuses connections is excluded for ejectFirst, doubling up to ejectMost.
	ejectFirst = 250 * time.Millisecond
	ejectMost  = 16 * time.Second
	// An endpoint that closes a connection within hastyWithin of its last answer counts as hasty for hastyFor.
	hastyWithin = time.Second
	hastyFor    = time.Minute
)

// Endpoint is the router's view of an instance. It is kept from table to table by the instance's ID.
type Endpoint struct {
	ID      cloud.InstanceID
	Release cloud.ReleaseRef
	Addr    netip.AddrPort
	at      *remote                                 // the node that it is on; nil for this one
	dial    func(context.Context) (net.Conn, error) // nil: TCP to Addr
	h2      *h2.Upstream                            // of an instance that speaks HTTP/2; dial is its

	// count is the number of requests in flight, with drainBit.
	count     atomic.Int64
	served    atomic.Uint64 // all requests so far
	first     atomic.Int64  // time of the first request, on the router's clock
	downUntil atomic.Int64  // on the router's clock
	failures  atomic.Int32  // to connect, in a row
	hasty     atomic.Int64  // until then, the app may close a connection while it is being reused
	drained   chan struct{}
	drainOnce sync.Once

	// streams counts the requests in flight that were upgraded, or whose answer has begun and has no known length. They may
	// last for hours, and say little about how busy the instance is.
	streams atomic.Int64
	tunnels tunnels

	tag  uint64 // what clients know it by, see bound; secret
	hash uint64 // of its ID

	idle idleConns
}

func newEndpoint(id cloud.InstanceID, release cloud.ReleaseRef, addr netip.AddrPort) *Endpoint {
	return &Endpoint{ID: id, Release: release, Addr: addr, hash: fnv(string(id)), drained: make(chan struct{})}
}

// speakHTTP2 makes the router use cleartext HTTP/2 for the endpoint.
func (e *Endpoint) speakHTTP2() {
	e.h2 = h2.NewUpstream(func(ctx context.Context) (net.Conn, error) {
		return e.dialTCP(ctx)
	})
	e.dial = e.h2.Dial
}

// claim counts a request before anything is sent, so that a drain can't miss it.
func (e *Endpoint) claim() bool {
	if e.count.Add(1) < 0 {
		e.release()
		return false
	}
	return true
}

// release ends the count of a request.
func (e *Endpoint) release() {
	if e.count.Add(-1) == drainBit {
		e.drainOnce.Do(func() { close(e.drained) })
	}
}

// drain refuses further claims and closes idle connections. e.drained is closed when no request is in flight.
func (e *Endpoint) drain() {
	if e.count.Or(drainBit) == 0 {
		e.drainOnce.Do(func() { close(e.drained) })
	}
	e.idle.closeAll()
	if e.h2 != nil {
		e.h2.Close()
	}
}

func (e *Endpoint) draining() bool { return e.count.Load() < 0 }

// InFlight returns the number of requests and upgraded connections in flight.
func (e *Endpoint) InFlight() int64 { return e.count.Load() &^ drainBit }

// load returns the number by which endpoints are compared: requests in flight without streams; ejected endpoints come after
// all others.
func (e *Endpoint) load(now int64) int64 {
	n := e.InFlight() - e.streams.Load()
	if e.ejected(now) {
		n += 1 << 32
	}
	return n
}

func (e *Endpoint) ejected(now int64) bool {
	return e.downUntil.Load() > now || e.at != nil && e.at.lost.Load()
}

// failed excludes the endpoint for some time, longer each time.
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

// connect makes a new connection, for requests or for bytes that are passed on.
func (e *Endpoint) connect(ctx context.Context, bytes bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	if e.dial != nil && !(bytes && e.h2 != nil) {
		return e.dial(ctx)
	}
	return e.dialTCP(ctx)
}

func (e *Endpoint) dialTCP(ctx context.Context) (net.Conn, error) {
	if e.at != nil {
		return remoteDialer.DialContext(ctx, "tcp", e.Addr.String())
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", e.Addr.String())
}
