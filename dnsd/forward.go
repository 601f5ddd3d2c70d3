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
	// patience is how long a client is kept waiting, and stalePatience how long where there is an old
	// answer (RFC 8767, section 5). The look-up goes on beyond both.
	patience      = 2 * time.Second
	stalePatience = 1800 * time.Millisecond

	waitsAtOnce, waitsEach     = 2048, 128 // clients' queries that wait for a look-up; those of one client
	lookupsAtOnce, lookupsEach = 512, 64   // look-ups under way; those that one client began
)

// ForwardConfig says whom to ask for the names that are not ours.
type ForwardConfig struct {
	// Upstreams are asked in this order.
	Upstreams []netip.AddrPort
	// ResolvConf is read for upstreams where none are given, and again whenever it changes; "" is
	// /etc/resolv.conf.
	ResolvConf string

	// Upstream answers may not have private addresses, so that no web page can make a browser talk to this
	// network (DNS rebinding), with these exceptions: for names in AllowDomains ("." is all names), and for
	// addresses in AllowNetworks and in the networks that HostNetworks returns (nil: none).
	AllowDomains  []string
	AllowNetworks []netip.Prefix
	HostNetworks  func() []netip.Prefix
	// Forbidden are networks that no upstream answer may point to but for AllowDomains, private or not: the
	// cloud's own subnet.
	Forbidden []netip.Prefix

	Log *slog.Logger
}

// Forwarder asks other resolvers, and remembers what they said.
type Forwarder struct {
	cfg       ForwardConfig
	private   *privateFilter
	own       atomic.Pointer[[]netip.AddrPort]
	upstreams *upstreams
	cache     cache
	ask       func(context.Context, *upstream, question) (*dns.Msg, error) // a test has its own

	waits, lookups *quota
	ctx            context.Context // of all look-ups
	cancel         context.CancelFunc
	work           sync.WaitGroup

	mu      sync.Mutex
	flights map[string]*flight
	closed  bool
}

// NewForwarder validates the configuration. That no upstream is known (yet) is no error.
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

// avoid names our own addresses, which are never asked: a resolv.conf that points at us makes no loop.
// (One that points at somebody who asks us again ends too: the second query waits for the first.)
func (f *Forwarder) avoid(own []netip.AddrPort) { f.own.Store(&own) }

// close ends all look-ups and returns when they have ended.
func (f *Forwarder) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel()
	f.work.Wait()
}

// site returns the private networks that upstreams may know.
func (f *Forwarder) site() []netip.Prefix {
	return slices.Concat(f.private.host.all(), f.private.networks)
}

// cached answers from memory; false where the upstreams must be asked.
func (f *Forwarder) cached(b []byte, q *Query) ([]byte, bool) {
	k := f.cache.get(cacheKey(q))
	switch {
	case k.fresh():
	case k.failing && k.reply == nil:
		return failed(b, q, dns.ExtendedErrorCodeCachedError), true
	case !k.failing:
		return nil, false
	}
	return k.write(b, q), true
}

// wait is a client's query that waits for a look-up.
type wait struct {
	f      *Forwarder
	q      *Query
	client netip.Addr
	flight *flight
	old    known
}

// begin starts the look-up of a name, or joins the one that is under way; nil where the client or all of
// them have too many. Each wait is ended by its answer.
func (f *Forwarder) begin(q *Query, client netip.Addr) *wait {
	asked, err := newQuestion(q)
	if err != nil || !f.waits.take(client) {
		return nil
	}
	key := cacheKey(q)
	w := &wait{f: f, q: q, client: client, old: f.cache.get(key), flight: f.fly(key, asked, client)}
	if w.flight == nil {
		f.waits.release(client)
		return nil
	}
	return w
}

// answer always has an answer, SERVFAIL at the latest after 2 seconds.
func (w *wait) answer() []byte {
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
	return failed(nil, w.q, dns.ExtendedErrorCodeNoReachableAuthority)
}

// failed answers SERVFAIL, and why.
func failed(b []byte, q *Query, why uint16) []byte {
	m := newMessage(b, q)
	m.flags |= flagRA
	m.rcode, m.info = dns.RcodeServerFailure, int(why)
	return m.finish()
}

// newReply makes an upstream's answer into what clients get.
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
