package router

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h3"
)

// Config configures a Router. Its zero value is valid.
type Config struct {
	Logger   *slog.Logger   // nil: none
	Recorder Recorder       // nil: none
	Waits    WaitRecorder   // nil: none
	Mirrors  MirrorRecorder // nil: none
	// TrustedProxies are peers whose forwarding fields are used.
	TrustedProxies []netip.Prefix
	// ProxyProtocol are peers whose connections begin with a header of the PROXY protocol.
	ProxyProtocol []netip.Prefix
	// Local reports whether a peer may use internal listeners; nil for loopback only.
	Local  func(netip.Addr) bool
	Limits Connections
	// PassKey is the secret key of passes; without it there are no passes.
	PassKey []byte
	// Challenges returns what an authority's question about a host, named by its token, is answered with (RFC 8555); ""
	// where it is none of ours. nil: none is.
	Challenges func(host, token string) string

	random func() uint64 // returns random numbers, called by many goroutines at a time; nil is the runtime's
}

// Connections limits the numbers of connections. If a new connection would exceed a limit, the one that has waited longest for
// a request ends; if none waits, the new one is refused.
type Connections struct {
	// Descriptors are the file descriptors that the router may hold for all clients' connections and those to
	// apps; 0 is any number.
	Descriptors int
	// Client is the largest number of connections of one client, an IPv4 address or an IPv6 network of 64 bits.
	// This machine itself and trusted proxies have no such limit. 0 is a quarter of all.
	Client int
	// Group is the largest number of connections of one group's containers; 0 is a quarter of all.
	Group int
	// GroupOf returns the group that an address is a container's of, "" for none; nil is none.
	GroupOf func(netip.Addr) string
}

// Router forwards requests by its table. Create it with New.
type Router struct {
	log           *slog.Logger
	recorder      Recorder
	waits         WaitRecorder
	mirrors       mirrors
	proxies       []netip.Prefix
	proxyProtocol []netip.Prefix
	local         func(netip.Addr) bool
	random        func() uint64
	challenges    func(host, token string) string
	passKey       []byte

	epoch     time.Time
	table     atomic.Pointer[Table]
	closing   atomic.Bool // answers close their connection
	noWaiting atomic.Bool // connections end instead of waiting for a request
	bufs      buffers
	exchanges sync.Pool
	watch     watch
	conns     conns
	refusedAt atomic.Int64 // when a refusal was logged last

	descriptors descriptors
	permits     permits

	mu      sync.Mutex
	swapped chan struct{}                    // closed by the next Swap
	retired map[cloud.InstanceID][]*Endpoint // left the table with requests in flight
	http3   []*h3.Listener
}

// New returns a router with an empty table.
func New(cfg Config) *Router {
	r := &Router{
		log: cfg.Logger, recorder: cfg.Recorder, waits: cfg.Waits, mirrors: mirrors{recorder: cfg.Mirrors, wires: map[*wire]bool{}}, proxies: cfg.TrustedProxies, proxyProtocol: cfg.ProxyProtocol,
		local: cfg.Local, random: cfg.random, challenges: cfg.Challenges,
		passKey: cfg.PassKey,
		epoch:   time.Now(),
		swapped: make(chan struct{}),
		retired: map[cloud.InstanceID][]*Endpoint{},
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.random == nil {
		r.random = rand.Uint64
	}
	if r.local == nil {
		r.local = netip.Addr.IsLoopback
	}
	r.watch.now, r.watch.descriptors = r.now, &r.descriptors
	r.descriptors.most = int64(cfg.Limits.Descriptors)
	all := int(clientsPart * float64(cfg.Limits.Descriptors))
	r.conns.limits = connectionLimits{all: all, client: cmp.Or(cfg.Limits.Client, all/4), group: cmp.Or(cfg.Limits.Group, all/4), groupOf: cfg.Limits.GroupOf, refused: r.refused}
	r.exchanges.New = func() any {
		return &exchange{head: make([]byte, 0, 1024), buf: make([]byte, 0, 2048), choice: choice{scratch: make([]byte, 0, 512)}}
	}
	r.table.Store(emptyTable())
	return r
}

// now returns the time of the router's monotonic clock: nanoseconds since New, never 0.
func (r *Router) now() int64 { return int64(time.Since(r.epoch)) | 1 }

// limits are the cloud's limits, for what no route is known of.
func (r *Router) limits() *limits { return r.table.Load().limits }

// Table returns the current table.
func (r *Router) Table() *Table { return r.table.Load() }

// Swap sets the current table. Running requests keep their table; endpoints that the new table does not have take no new
// requests.
func (r *Router) Swap(t *Table) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.table.Swap(t)
	gone := t.gone
	if t.base != old {
		gone = old.missing(t)
	}
	t.base, t.gone = nil, nil
	close(r.swapped)
	r.swapped = make(chan struct{})
	for _, e := range gone {
		e.drain()
		r.retired[e.ID] = append(r.retired[e.ID], e)
	}
	for id, list := range r.retired {
		list = slices.DeleteFunc(list, func(e *Endpoint) bool { return e.InFlight() == 0 })
		if r.retired[id] = list; len(list) == 0 {
			delete(r.retired, id)
		}
	}
}

// tableLag is how long Drain waits for a table without the instance. That table has the replacement; draining earlier could
// leave no instance to answer.
const tableLag = 2 * time.Second

// Drain waits until no request or upgraded connection is in flight to the instance and no new one is possible. New requests
// end with a table without the instance, or after tableLag. If ctx ends first, Drain returns its error; then, too, the
// instance takes no new requests.
func (r *Router) Drain(ctx context.Context, instance cloud.InstanceID) error {
	lag := time.NewTimer(tableLag)
	defer lag.Stop()
	for waiting := true; waiting; {
		r.mu.Lock()
		_, waiting = r.table.Load().endpoints.lookup(string(instance))
		swapped := r.swapped
		r.mu.Unlock()
		if waiting {
			select {
			case <-swapped:
			case <-lag.C:
				waiting = false
			case <-ctx.Done():
				waiting = false
			}
		}
	}
	r.mu.Lock()
	wait := slices.Clone(r.retired[instance])
	if e, ok := r.table.Load().endpoints.lookup(string(instance)); ok {
		e.drain()
		wait = append(wait, e)
	}
	r.mu.Unlock()
	for _, e := range wait {
		e.tunnels.goAway(farewellSpread)
	}
	for _, e := range wait {
		select {
		case <-e.drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (r *Router) exchange(c *conn) *exchange {
	x := r.exchanges.Get().(*exchange)
	x.reset(c)
	x.begun, x.Start = c.begun, c.start
	x.Client, x.Internal, x.Scheme = c.peer, c.internal, c.scheme
	return x
}

// maxKept is the largest head buffer that is kept for another request.
const maxKept = 64 << 10

// waited records that the exchange no longer waits for an answer.
func (x *exchange) waited() {
	if x.c.r.waits != nil {
		x.c.r.waits.Waited(&x.Exchange)
	}
}

// end records the exchange and releases its resources.
func (x *exchange) end() {
	c := x.c
	r := c.r
	c.w.waiting.Store(0)
	if x.permitted {
		r.permits.remove(x)
	}
	x.abandon()
	x.Duration = time.Duration(r.now() - x.begun)
	x.waited()
	if r.recorder != nil {
		r.recorder.Record(&x.Exchange)
	}
	x.unclaim()
	if len(x.copied) > 0 {
		x.mirror()
	}
	if cap(x.buf) > maxKept {
		x.buf = make([]byte, 0, 2048)
	}
	if givenBack != nil {
		x.forget()
	}
	x.Exchange = Exchange{}
	x.choice.reset(nil, nil, nil)
	x.c, x.copyOf, x.upload = nil, nil, nil
	r.exchanges.Put(x)
}

// forget overwrites the exchange's own buffers, for tests.
func (x *exchange) forget() {
	for _, b := range [][]byte{x.head[:cap(x.head)], x.buf[:cap(x.buf)], x.scratch[:cap(x.scratch)], x.id[:], x.choice.id[:], x.clientText[:], x.key[:]} {
		givenBack(b)
	}
}

// Stats is the current state of a router.
type Stats struct {
	Refused     uint64                     // connections of clients, because there were too many
	Connections int                        // of clients
	InFlight    map[cloud.ReleaseRef]int64 // requests; only releases with any
	Instances   map[cloud.InstanceID]InstanceStats
}

// InstanceStats are the requests of an instance.
type InstanceStats struct {
	Requests uint64 // sent to it since it joined the table
	InFlight int64  // of them and of upgraded connections, that have not ended
}

// Stats returns the current state. It includes instances that have left the table.
func (r *Router) Stats() Stats {
	s := Stats{InFlight: map[cloud.ReleaseRef]int64{}, Instances: map[cloud.InstanceID]InstanceStats{}}
	s.Connections, s.Refused = r.conns.count()
	count := func(e *Endpoint) {
		n := e.InFlight()
		if n > 0 {
			s.InFlight[e.Release] += n
		}
		s.Instances[e.ID] = InstanceStats{Requests: e.served.Load(), InFlight: n}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.table.Load().endpoints.all {
		count(e)
	}
	for _, list := range r.retired {
		for _, e := range list {
			count(e)
		}
	}
	return s
}
