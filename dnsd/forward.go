package dnsd

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

const (
	// patience is how long a client waits for a lookup, and stalePatience how long it waits if there is a
	// stale answer (RFC 8767, section 5). The lookup itself goes on after that.
	patience      = 2 * time.Second
	stalePatience = 1800 * time.Millisecond

	waitsAtOnce, waitsEach     = 2048, 128 // queries that wait for a lookup: in all, of one client
	lookupsAtOnce, lookupsEach = 512, 64   // running lookups: in all, started by one client
)

// ForwardConfig configures the lookup of names outside our own zones.
type ForwardConfig struct {
	// Upstreams are asked in this order.
	Upstreams []netip.AddrPort
	// ResolvConf names the upstreams if Upstreams is empty. It is read again whenever it changes; "" is
	// /etc/resolv.conf.
	ResolvConf string

	// Private addresses are removed from upstream answers, so that no web page can make a browser talk to
	// this network (DNS rebinding). Exceptions are names in AllowDomains ("." is all names), addresses in
	// AllowNetworks, and addresses in the networks that HostNetworks returns (nil: none).
	AllowDomains  []string
	AllowNetworks []netip.Prefix
	HostNetworks  func() []netip.Prefix
	// Addresses in Forbidden are removed even if they are public or in AllowNetworks, except for names in
	// AllowDomains. The subnets of the cloud's own nodes are forbidden. Nil is none.
	Forbidden func() []netip.Prefix

	Log *slog.Logger
}

// Forwarder asks upstream resolvers and caches their answers.
type Forwarder struct {
	cfg       ForwardConfig
	private   *privateFilter
	own       atomic.Pointer[[]netip.AddrPort]
	upstreams *upstreams
	cache     cache
	ask       func(context.Context, *upstream, question) (*dns.Msg, error) // replaced in tests

	waits, lookups *quota
	ctx            context.Context // of all lookups
	cancel         context.CancelFunc
	work           sync.WaitGroup

	mu      sync.Mutex
	flights map[string]*flight
	closed  bool
}

// NewForwarder validates the configuration. It is not an error if no upstream is known yet.
func NewForwarder(cfg ForwardConfig) (*Forwarder, error) {
	for _, up := range cfg.Upstreams {
		if !up.IsValid() || up.Port() == 0 || up.Addr().IsUnspecified() {
			return nil, cloud.Errorf(cloud.Invalid, "dns: upstream %v needs an address and a port", up)
		}
	}
	private, err := newPrivateFilter(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = "/etc/resolv.conf"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Forwarder{
		cfg: cfg, private: private, upstreams: newUpstreams(cfg.Upstreams, cfg.ResolvConf),
		ask:   func(ctx context.Context, u *upstream, q question) (*dns.Msg, error) { return u.ask(ctx, q) },
		waits: newQuota(waitsAtOnce, waitsEach), lookups: newQuota(lookupsAtOnce, lookupsEach),
		flights: map[string]*flight{},
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.own.Store(&[]netip.AddrPort{})
	f.cache.init()
	return f, nil
}

// setOwnAddrs sets the server's own addresses, which are never asked: otherwise a resolv.conf that points to
// this server would cause a loop. (A loop through another resolver ends too: the second query joins the
// lookup of the first.)
func (f *Forwarder) setOwnAddrs(own []netip.AddrPort) { f.own.Store(&own) }

// close cancels all lookups and waits until they have ended.
func (f *Forwarder) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel()
	f.work.Wait()
}

// upstreamNetworks returns the private networks whose reverse zones the upstreams may have.
func (f *Forwarder) upstreamNetworks() []netip.Prefix {
	return slices.Concat(f.private.host.all(), f.private.networks)
}

// answerFromCache returns the cached answer, or false if the upstreams must be asked.
func (f *Forwarder) answerFromCache(b []byte, q *Query) ([]byte, bool) {
	k := f.cache.state(cacheKey(q))
	switch {
	case k.fresh():
	case k.failing && k.reply == nil:
		return serverFailure(b, q, dns.ExtendedErrorCodeCachedError), true
	case !k.failing:
		return nil, false
	}
	return k.write(b, q), true
}

// pendingQuery is a client's query that waits for a lookup.
type pendingQuery struct {
	f      *Forwarder
	q      *Query
	client netip.Addr
	flight *flight
	old    cacheState
}

// startLookup starts the lookup of a name, or joins a running one. It returns nil if a limit is reached. The
// caller must call answer on the result, which frees its place in the limit.
func (f *Forwarder) startLookup(q *Query, client netip.Addr) *pendingQuery {
	asked, err := newQuestion(q)
	if err != nil || !f.waits.take(client) {
		return nil
	}
	key := cacheKey(q)
	w := &pendingQuery{f: f, q: q, client: client, old: f.cache.state(key), flight: f.joinFlight(key, asked, client)}
	if w.flight == nil {
		f.waits.release(client)
		return nil
	}
	return w
}

// answer waits for the lookup and returns the answer: a stale one or SERVFAIL if the lookup takes too long.
func (w *pendingQuery) answer() []byte {
	defer w.f.waits.release(w.client)
	limit := patience
	if w.old.reply != nil {
		limit = stalePatience
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-w.flight.done:
		if w.flight.err == nil {
			return w.flight.reply.write(nil, w.q, -1, func(ttl uint32) uint32 { return ttl })
		}
	case <-timer.C:
	}
	if old := w.old.write(nil, w.q); old != nil {
		return old
	}
	return serverFailure(nil, w.q, dns.ExtendedErrorCodeNoReachableAuthority)
}

// serverFailure answers SERVFAIL, with an extended error as the reason.
func serverFailure(b []byte, q *Query, why uint16) []byte {
	m := newMessage(b, q)
	m.flags |= flagRA
	m.rcode, m.info = dns.RcodeServerFailure, int(why)
	return m.finish()
}

// newReply converts an upstream's answer to a reply for clients, without private addresses.
func (f *Forwarder) newReply(q question, m *dns.Msg) (*reply, error) {
	life, negative := lifetime(m), isNegative(m)
	dropped := f.private.drop(m, q.name)
	r, err := newReply(m)
	if err != nil {
		return nil, err
	}
	r.negative, r.filtered = negative, dropped > 0
	if !r.cut {
		r.life = life
	}
	return r, nil
}
