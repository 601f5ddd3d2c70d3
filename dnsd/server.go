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

// Recorder counts answers. It is called once an answer, by several goroutines, and must be quick.
type Recorder interface {
	// Query is told the answer's rcode and the type asked for, 0 where none could be read: see
	// RcodeLabel and TypeLabel.
	Query(rcode int, qtype uint16)
}

// Config is what a server needs. Listen and Zone are required.
type Config struct {
	Listen   []netip.AddrPort // each by UDP and TCP; port 0 takes a free one
	Networks []Network        // who is served; everyone else is Outside
	Zone     *Zone            // until the first Swap

	// Forward looks up the names that are not ours for clients that are not Outside; nil: nobody does.
	Forward *Forwarder
	// Rate limits the UDP answers a second to each source prefix (/24, /56) that is neither loopback
	// nor a container: those can't be made up. 0 is 200, below 0 none.
	Rate int

	Groups   Groups   // nil: no container is in one
	Sockets  Sockets  // binds Listen; nil: the server does
	Recorder Recorder // may be nil
	Log      *slog.Logger
}

// Groups knows whose containers are at which addresses. It is asked with each query of a container, and
// must know one before its first process runs: programs look up their database with their first breath
// and do not ask again.
type Groups interface {
	// GroupOf returns the group of the container with an address, "" where there is none. IPv4 comes as such.
	GroupOf(client netip.Addr) string
}

func (c *Config) validate() error {
	var errs []error
	if len(c.Listen) == 0 {
		errs = append(errs, cloud.Errorf(cloud.Invalid, "dns: no address to listen on").WithHint("--dns 127.0.0.1:53"))
	}
	if c.Zone == nil {
		errs = append(errs, cloud.Errorf(cloud.Internal, "dns: no zone to start with"))
	}
	for _, n := range c.Networks {
		if !n.Prefix.IsValid() || n.Class == Outside || n.A.IsValid() && !n.A.Is4() || n.AAAA.IsValid() && !n.AAAA.Is6() {
			errs = append(errs, cloud.Errorf(cloud.Invalid, "dns: network %v has no class or addresses of the wrong family", n))
		}
	}
	return errors.Join(errs...)
}

// Server answers queries on its addresses.
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

// New validates the configuration and binds all addresses, or none: a *cloud.Error of code Conflict
// names the one that is taken.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, views: NewViews(cfg.Networks), limit: newLimiter(cfg.Rate, time.Now), cookies: newCookies()}
	s.conns.open, s.conns.of = map[*net.TCPConn]bool{}, map[netip.Addr]int{}
	s.zone.Store(cfg.Zone)
	if cfg.Sockets == nil {
		cfg.Sockets = ownSockets{}
	}
	for _, addr := range cfg.Listen {
		u, t, err := bind(cfg.Sockets, addr)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.udp, s.tcp = append(s.udp, u), append(s.tcp, t)
	}
	if f := cfg.Forward; f != nil {
		f.avoid(s.Addrs())
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

// Swap serves another zone, from the next query on.
func (s *Server) Swap(z *Zone) { s.zone.Store(z) }

// Run answers until ctx ends; it returns nil then, and the error where a socket fails before.
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
	asleep := time.AfterFunc(time.Second, func() { // a firewall may have kept the call from them
		for _, u := range s.udp {
			u.shut()
		}
	})
	if s.cfg.Forward != nil {
		s.cfg.Forward.close()
	}
	s.work.Wait()
	asleep.Stop()
	for _, u := range s.udp { // look-ups under way have been writing to them
		u.close()
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// Close gives the addresses back. Run does so itself; this is for a server that never ran.
func (s *Server) Close() {
	s.stop()
	for _, u := range s.udp {
		u.close()
	}
}

// stop ends what waits for clients.
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

// verdict is what becomes of a message.
type verdict uint8

const (
	dropped verdict = iota
	answered
	forwarded // the name is not ours, and the client may ask
)

// handle answers one message out of the zone, into b.
func (s *Server) handle(b []byte, q *Query, msg []byte, client netip.Addr) ([]byte, verdict) {
	if !q.Parse(msg) {
		return nil, dropped
	}
	v := s.view(client)
	proved := s.checkCookie(q, client)
	if !q.Stream && !proved && (v.Class == Outside || v.Class == Local) {
		switch s.limit.take(client) {
		case spend:
		case slip:
			return s.record(q, comeAgain(b, q)), answered
		case drop:
			return nil, dropped
		}
	}
	q.Turn = rand.Uint32()
	if v.Recurse && isReverse(q.Name()) {
		v.Site = s.cfg.Forward.site()
	}
	b, ours := s.zone.Load().Answer(b, q, v)
	if !ours {
		return nil, forwarded
	}
	return s.record(q, b), answered
}

// view is what is known of a client now.
func (s *Server) view(client netip.Addr) View {
	v := s.views.Of(client)
	if v.Class == Container && s.cfg.Groups != nil {
		v.Group = s.cfg.Groups.GroupOf(client.Unmap())
	}
	v.Recurse = s.cfg.Forward != nil && v.Class != Outside
	return v
}

// record counts an answer that is about to be sent.
func (s *Server) record(q *Query, b []byte) []byte {
	if s.cfg.Recorder != nil {
		s.cfg.Recorder.Query(q.sent, q.Type)
	}
	return b
}

// comeAgain tells a client to ask once more in a way that proves its address: with the cookie that it gets
// here, or by TCP.
func comeAgain(b []byte, q *Query) []byte {
	m := newMessage(b, q)
	if len(q.answerCookie) > 0 {
		m.rcode = dns.RcodeBadCookie
	} else {
		m.flags |= flagTC
	}
	return m.finish()
}
