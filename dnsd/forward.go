package dnsd

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"

	"github.com/protoduction/micro/cloud"
)

const (
	lookupTime    = 2 * time.Second // then the answer is SERVFAIL
	lookupsAtOnce = 512
	lookupsEach   = 64 // of one client
)

// ForwardConfig says whom to ask for the names that are not ours.
type ForwardConfig struct {
	// Upstreams are asked in this order; the one that answered last is asked first.
	Upstreams []netip.AddrPort
	// ResolvConf is read for upstreams where none are given, and again whenever it changes; "" is
	// /etc/resolv.conf.
	ResolvConf string
	// AllowPrivate are domains whose names may have private addresses in upstream answers; "." is all.
	// Elsewhere they are dropped, so that no web page can make a browser talk to this network
	// (DNS rebinding).
	AllowPrivate []string
	// Private are further prefixes that upstream answers may not point to, such as the cloud's subnet.
	Private []netip.Prefix

	Log *slog.Logger
}

// Forwarder asks other resolvers, and remembers what they said.
type Forwarder struct {
	cfg     ForwardConfig
	own     atomic.Pointer[[]netip.AddrPort]
	servers servers
	cache   cache
	flights singleflight.Group

	mu    sync.Mutex
	total int
	each  map[netip.Addr]int
}

// NewForwarder validates the configuration. That no upstream is known (yet) is no error.
func NewForwarder(cfg ForwardConfig) (*Forwarder, error) {
	for i, domain := range cfg.AllowPrivate {
		if _, ok := dns.IsDomainName(domain); !ok {
			return nil, cloud.Errorf(cloud.Invalid, "dns: %q is no domain to allow private addresses in", domain)
		}
		cfg.AllowPrivate[i] = dns.CanonicalName(domain)
	}
	for _, up := range cfg.Upstreams {
		if !up.IsValid() || up.Port() == 0 || up.Addr().IsUnspecified() {
			return nil, cloud.Errorf(cloud.Invalid, "dns: upstream %v is no address and port", up)
		}
	}
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = "/etc/resolv.conf"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Forwarder{cfg: cfg, each: map[netip.Addr]int{}}
	f.servers.fixed, f.servers.path = cfg.Upstreams, cfg.ResolvConf
	f.own.Store(&[]netip.AddrPort{})
	f.cache.init(time.Now)
	return f, nil
}

// avoid names our own addresses, which are never asked: a resolv.conf that points at us makes no loop.
// (One that points at somebody who asks us again ends too: the second query waits for the first.)
func (f *Forwarder) avoid(own []netip.AddrPort) { f.own.Store(&own) }

// admit reports whether the client may have one more look-up under way; each admitted is released.
func (f *Forwarder) admit(client netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.total >= lookupsAtOnce || f.each[client] >= lookupsEach {
		return false
	}
	f.total++
	f.each[client]++
	return true
}

func (f *Forwarder) release(client netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total--
	if f.each[client]--; f.each[client] == 0 {
		delete(f.each, client)
	}
}

// busy is the answer where there is no room.
func busy(b []byte, q *Query) []byte {
	return failed(b, q, dns.ExtendedErrorCodeOther)
}

func failed(b []byte, q *Query, why uint16) []byte {
	m := newMessage(b, q)
	m.flags |= flagRA
	m.rcode, m.info = dns.RcodeServerFailure, int(why)
	return m.finish()
}

// cached answers from memory.
func (f *Forwarder) cached(b []byte, q *Query) ([]byte, bool) {
	r, age, ok := f.cache.get(cacheKey(q))
	if !ok {
		return nil, false
	}
	return r.write(b, q, age), true
}

// Answer looks a name up. It always has an answer, SERVFAIL at the latest after 2 seconds; clients that
// ask the same at the same time share one look-up.
func (f *Forwarder) Answer(ctx context.Context, q *Query) []byte {
	key := cacheKey(q)
	result, err, _ := f.flights.Do(key, func() (any, error) {
		if r, _, ok := f.cache.get(key); ok {
			return r, nil // landed between the caller's look into the cache and now
		}
		r, err := f.lookup(ctx, q)
		if err == nil {
			f.cache.put(key, r)
		}
		return r, err
	})
	if err != nil {
		return failed(nil, q, dns.ExtendedErrorCodeNoReachableAuthority)
	}
	return result.(*reply).write(nil, q, 0)
}

// lookup asks the upstreams.
func (f *Forwarder) lookup(ctx context.Context, q *Query) (*reply, error) {
	name, _, err := dns.UnpackDomainName(q.Name(), 0)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	m := &dns.Msg{Question: []dns.Question{{Name: name, Qtype: q.Type, Qclass: q.Class}}}
	m.RecursionDesired, m.CheckingDisabled = true, q.Flags&flagCD != 0
	m.SetEdns0(maxUDP, q.DO)
	answer, err := f.ask(ctx, m)
	if err != nil {
		f.cfg.Log.Debug("name not looked up", "name", name, "err", err)
		return nil, err
	}
	ttl := lifetime(answer)
	dropped := 0
	if !f.mayBePrivate(name) {
		dropped = dropPrivate(answer, f.cfg.Private)
	}
	return newReply(answer, ttl, dropped > 0)
}

// mayBePrivate reports whether private addresses are expected under the name.
func (f *Forwarder) mayBePrivate(name string) bool {
	name = strings.ToLower(name)
	for _, domain := range f.cfg.AllowPrivate {
		if dns.IsSubDomain(domain, name) {
			return true
		}
	}
	return false
}
