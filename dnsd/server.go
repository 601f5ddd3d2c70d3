package dnsd

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

// Recorder counts answers. It is called once per answer, by several goroutines, and must be quick.
type Recorder interface {
	// CountAnswer gets the answer's rcode and the query's type, 0 if the query was malformed. RcodeLabel and
	// TypeLabel return their names.
	CountAnswer(rcode int, qtype uint16)
}

// Config is what a server needs. Listen and Zone are required.
type Config struct {
	Listen   []netip.AddrPort // each by UDP and TCP; port 0 chooses a free one
	Networks []Network        // networks to serve; all other clients are Outside
	Zone     *Zone            // until the first Swap

	// Public makes the server one for the world: it answers anybody, and for challenge zones alone. It needs no Networks.
	Public bool
	// Challenges has the answers of challenge zones; nil: there are none.
	Challenges Challenges

	// Forward looks up names outside our zones, for clients that are not Outside. nil: they are refused.
	Forward *Forwarder
	// Rate limits the UDP answers per second to each source prefix (/24, /56). Loopback and containers are
	// not limited: their addresses can't be forged. 0 is 200, below 0 is unlimited.
	Rate int

	Groups   Groups   // nil: no container is in a group
	Egress   Egress   // nil: every container may look up every name
	Sockets  Sockets  // binds Listen; nil: the server binds new sockets
	Recorder Recorder // may be nil
	Log      *slog.Logger
}

// Groups finds the group of a container by its address. It must know a container before its first process
// runs: many programs look up their database at once and don't try again.
type Groups interface {
	// GroupOf returns the group of the container with an address, "" if there is none. It is called once per
	// query of a container; IPv4 addresses are not mapped to IPv6.
	GroupOf(client netip.Addr) string
}

// setting is the name of the setting that has Listen.
func (c *Config) setting() string {
	if c.Public {
		return "public-dns"
	}
	return "dns"
}

func (c *Config) validate() error {
	var errs []error
	if len(c.Listen) == 0 {
		errs = append(errs, cloud.Errorf(cloud.Invalid, "%s: no address to listen on", c.setting()).WithHint("--%s 127.0.0.1:53", c.setting()))
	}
	if c.Public && c.Forward != nil {
		errs = append(errs, cloud.Errorf(cloud.Internal, "dns: a server for the world must not look up names for it"))
	}
	if c.Zone == nil {
		errs = append(errs, cloud.Errorf(cloud.Internal, "dns: no initial zone"))
	}
	for _, n := range c.Networks {
		if !n.Prefix.IsValid() || n.Class == Outside || n.A.IsValid() && !n.A.Is4() || n.AAAA.IsValid() && !n.AAAA.Is6() {
			errs = append(errs, cloud.Errorf(cloud.Invalid, "dns: network %v has an invalid prefix, no class or addresses of the wrong family", n))
		}
	}
	return errors.Join(errs...)
}

// Server answers DNS queries.
type Server struct {
	cfg     Config
	views   Views
	limit   *limiter
	cookies *cookies
	zone    atomic.Pointer[Zone]
	udp     []*udpSocket
	tcp     []*net.TCPListener

	closing atomic.Bool
	conns   connections
	work    sync.WaitGroup
}

// New validates the configuration and binds all addresses. If an address is in use, New binds none and
// returns a *cloud.Error of code Conflict with that address.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, views: NewViews(cfg.Networks), limit: newLimiter(cfg.Rate, time.Now), cookies: newCookies()}
	s.conns.open, s.conns.perClient = map[*net.TCPConn]bool{}, map[netip.Addr]int{}
	s.zone.Store(cfg.Zone)
	if cfg.Sockets == nil {
		cfg.Sockets = ownSockets{}
	}
	for _, addr := range cfg.Listen {
		u, t, err := bind(cfg.Sockets, cfg.setting(), addr)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.udp, s.tcp = append(s.udp, u), append(s.tcp, t)
	}
	if f := cfg.Forward; f != nil {
		f.setOwnAddrs(s.Addrs())
	}
	return s, nil
}

// Addrs returns the addresses that the server is bound to, in the order of Config.Listen.
func (s *Server) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(s.tcp))
	for i, l := range s.tcp {
		a := l.Addr().(*net.TCPAddr).AddrPort()
		addrs[i] = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return addrs
}

// Zone returns the zone that is served now.
func (s *Server) Zone() *Zone { return s.zone.Load() }

// Swap replaces the zone from the next query on.
func (s *Server) Swap(z *Zone) { s.zone.Store(z) }

// Run answers queries until ctx ends, and then returns nil. It returns an error if a socket fails before.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	serve := func(f func(context.Context) error) {
		s.work.Go(func() {
			if err := f(ctx); err != nil && !s.closing.Load() {
				cancel(err)
			}
		})
	}
	for _, u := range s.udp {
		serve(func(context.Context) error { return s.serveUDP(u) })
	}
	for _, l := range s.tcp {
		serve(func(ctx context.Context) error { return s.serveTCP(ctx, l) })
	}
	<-ctx.Done()
	err := context.Cause(ctx)
	s.stop()
	asleep := time.AfterFunc(time.Second, func() { // a firewall may have dropped the message that wakes the readers
		for _, u := range s.udp {
			u.shutdownRead()
		}
	})
	if s.cfg.Forward != nil {
		s.cfg.Forward.close()
	}
	s.work.Wait()
	asleep.Stop()
	for _, u := range s.udp { // only now: running lookups have been writing to the sockets
		u.close()
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// Close releases the addresses of a server that never ran. Run releases them itself.
func (s *Server) Close() {
	s.stop()
	for _, u := range s.udp {
		u.close()
	}
}

// stop wakes all readers and closes listeners and connections.
func (s *Server) stop() {
	s.closing.Store(true)
	for _, u := range s.udp {
		u.wake()
	}
	for _, l := range s.tcp {
		l.Close()
	}
	s.conns.closeAll()
}

// outcome says what happens with a message.
type outcome uint8

const (
	dropped outcome = iota
	answered
	forwarded // the name is outside our zones, and the client may use the forwarder
)

// handle answers one message from the zone, into b.
func (s *Server) handle(b []byte, q *Query, msg []byte, client netip.Addr) ([]byte, outcome) {
	if !q.Parse(msg) {
		return nil, dropped
	}
	v := s.view(client)
	proved := s.checkCookie(q, client)
	if !q.Stream && !proved && (v.Class == Outside || v.Class == Local || v.Class == World) {
		switch s.limit.take(client) {
		case pass:
		case slip:
			return s.record(q, retryAnswer(b, q)), answered
		case drop:
			return nil, dropped
		}
	}
	q.Turn = rand.Uint32()
	if v.Recurse && isReverse(q.Name()) {
		v.UpstreamNetworks = s.cfg.Forward.upstreamNetworks()
	}
	b, ours := s.zone.Load().Answer(b, q, v)
	if !ours {
		if !s.mayLookUp(q, v, client) {
			return s.record(q, prohibited(b, q)), answered
		}
		return nil, forwarded
	}
	return s.record(q, b), answered
}

// view returns the current view of a client.
func (s *Server) view(client netip.Addr) View {
	if s.cfg.Public {
		return View{Class: World, Challenges: s.cfg.Challenges}
	}
	v := s.views.Find(client)
	v.Challenges = s.cfg.Challenges
	if v.Class == Container && s.cfg.Groups != nil {
		v.Group = s.cfg.Groups.GroupOf(client.Unmap())
	}
	v.Recurse = s.cfg.Forward != nil && v.Class != Outside
	return v
}

// record counts an answer that is about to be sent.
func (s *Server) record(q *Query, b []byte) []byte {
	if s.cfg.Recorder != nil {
		s.cfg.Recorder.CountAnswer(q.sent, q.Type)
	}
	return b
}

// retryAnswer tells a client to ask again in a way that proves its address: with the cookie in this answer,
// or by TCP.
func retryAnswer(b []byte, q *Query) []byte {
	m := newMessage(b, q)
	if len(q.answerCookie) > 0 {
		m.rcode = dns.RcodeBadCookie
	} else {
		m.flags |= flagTC
	}
	return m.finish()
}
