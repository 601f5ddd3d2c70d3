package dnsd

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// resolver is an upstream that counts its queries.
type resolver struct {
	addr    netip.AddrPort
	queries atomic.Int64
	tcp     atomic.Int64
}

func newResolver(t testing.TB, answer func(w dns.ResponseWriter, m *dns.Msg)) *resolver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	up := &resolver{addr: netip.MustParseAddrPort(l.Addr().String())}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		up.queries.Add(1)
		if _, ok := w.RemoteAddr().(*net.TCPAddr); ok {
			up.tcp.Add(1)
		}
		answer(w, m)
	})
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	for _, s := range []*dns.Server{{Listener: l, Handler: handler}, {PacketConn: p, Handler: handler}} {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		running.Go(func() { _ = s.ActivateAndServe() })
		<-ready
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return up
}

// zoneFile returns a handler that answers with the lines that match the question's name and type, and with
// NXDOMAIN if none match.
func zoneFile(lines ...string) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, m *dns.Msg) {
		r := new(dns.Msg).SetReply(m)
		for _, line := range lines {
			rr, err := dns.NewRR(line)
			if err != nil {
				panic(err)
			}
			if strings.EqualFold(rr.Header().Name, m.Question[0].Name) && rr.Header().Rrtype == m.Question[0].Qtype {
				r.Answer = append(r.Answer, rr)
			}
		}
		if len(r.Answer) == 0 {
			soa, _ := dns.NewRR("example. 60 IN SOA ns.example. root.example. 1 2 3 4 30")
			r.Rcode, r.Ns = dns.RcodeNameError, []dns.RR{soa}
		}
		if _, ok := w.RemoteAddr().(*net.UDPAddr); ok && r.Len() > maxUDP {
			r.Answer, r.Truncated = nil, true
		}
		_ = w.WriteMsg(r)
	}
}

func silent(dns.ResponseWriter, *dns.Msg) {}

func refusing(w dns.ResponseWriter, m *dns.Msg) {
	_ = w.WriteMsg(new(dns.Msg).SetRcode(m, dns.RcodeRefused))
}

// startForwarding is a server in front of upstreams.
func startForwarding(t testing.TB, change func(*ForwardConfig), ups ...*resolver) *Server {
	t.Helper()
	cfg := ForwardConfig{}
	for _, up := range ups {
		cfg.Upstreams = append(cfg.Upstreams, up.addr)
	}
	if change != nil {
		change(&cfg)
	}
	f, err := NewForwarder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return startServer(t, func(c *Config) { c.Forward = f })
}

func query(t testing.TB, s *Server, network, source, question string) *dns.Msg {
	t.Helper()
	name, rtype, _ := strings.Cut(question, " ")
	m := new(dns.Msg).SetQuestion(name, dns.StringToType[rtype])
	m.SetEdns0(maxUDP, false)
	r, _, err := clientFrom(network, source).Exchange(m, s.Addrs()[0].String())
	if err != nil {
		t.Fatalf("%s %s: %v", network, question, err)
	}
	return r
}

func TestForward(t *testing.T) {
	big := make([]string, 60)
	for i := range big {
		big[i] = fmt.Sprintf("big.example. 60 IN TXT %q", strings.Repeat("x", 40)+fmt.Sprint(i))
	}
	up := newResolver(t, zoneFile(append(big,
		"www.example. 300 IN A 192.0.2.1", "www.example. 300 IN A 192.0.2.2", "rebind.example. 60 IN A 10.0.0.1", "rebind.example. 60 IN A 192.0.2.3",
		"inner.corp.example. 60 IN A 10.1.1.1", "mapped.example. 60 IN AAAA ::ffff:192.168.0.1", "nat64.example. 60 IN AAAA 64:ff9b::a00:1", "lo.example. 60 IN AAAA ::1",
		"good.example. 60 IN AAAA 2001:db8::1", "svc.example. 60 IN HTTPS 1 . alpn=h2 ipv4hint=192.168.1.1 ipv6hint=2001:db8::2",
		"cloud.example. 60 IN A 203.0.113.9")...))
	s := startForwarding(t, func(c *ForwardConfig) {
		c.AllowDomains = []string{"corp.example"}
		c.Forbidden = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} }
	}, up)
	f := func(source, question string, want ...string) {
		t.Helper()
		for _, network := range []string{"udp", "tcp"} {
			r := query(t, s, network, source, question)
			if got := text(r); got != strings.Join(want, "\n") {
				t.Errorf("%s %s\n got %s\nwant %s", network, question, got, strings.Join(want, "\n"))
			}
			if !r.RecursionAvailable && r.Rcode != dns.RcodeRefused || r.Authoritative {
				t.Errorf("%s: flags %v", question, r.MsgHdr)
			}
		}
	}
	f("127.0.0.1", "www.example. A", "www.example. 300 IN A 192.0.2.1", "www.example. 300 IN A 192.0.2.2")
	f("127.0.0.2", "WWW.Example. A", "WWW.Example. 300 IN A 192.0.2.1", "WWW.Example. 300 IN A 192.0.2.2")
	f("127.0.0.4", "nope.example. A", "NXDOMAIN", "example. 60 IN SOA ns.example. root.example. 1 2 3 4 30")
	f("127.0.0.9", "www.example. A", "REFUSED")
	f("127.0.0.1", "www.example. ANY", "REFUSED")

	// Public names must not point into this network.
	f("127.0.0.1", "rebind.example. A", "rebind.example. 60 IN A 192.0.2.3")
	f("127.0.0.1", "mapped.example. AAAA", "NOERROR")
	f("127.0.0.1", "nat64.example. AAAA", "NOERROR")
	f("127.0.0.1", "lo.example. AAAA", "NOERROR")
	f("127.0.0.1", "cloud.example. A", "NOERROR")
	f("127.0.0.1", "good.example. AAAA", "good.example. 60 IN AAAA 2001:db8::1")
	f("127.0.0.1", "svc.example. HTTPS", `svc.example. 60 IN HTTPS 1 . alpn="h2" ipv6hint="2001:db8::2"`)
	f("127.0.0.1", "inner.corp.example. A", "inner.corp.example. 60 IN A 10.1.1.1")

	// Answers that are too long for UDP are fetched and sent by TCP.
	if r := query(t, s, "udp", "127.0.0.1", "big.example. TXT"); !r.Truncated || len(r.Answer) < 10 {
		t.Errorf("long answer by UDP: %v", r)
	}
	if r := query(t, s, "tcp", "127.0.0.1", "big.example. TXT"); r.Truncated || len(r.Answer) != len(big) {
		t.Errorf("long answer by TCP: %d records", len(r.Answer))
	}
	if up.tcp.Load() == 0 {
		t.Error("upstream was not asked by TCP")
	}

	// All these answers are now cached.
	before := up.queries.Load()
	f("127.0.0.1", "www.example. A", "www.example. 300 IN A 192.0.2.1", "www.example. 300 IN A 192.0.2.2")
	f("127.0.0.1", "nope.example. A", "NXDOMAIN", "example. 60 IN SOA ns.example. root.example. 1 2 3 4 30")
	if up.queries.Load() != before {
		t.Error("the upstream was asked for a cached answer")
	}
}

// TestPrivateNetworks: private addresses pass where they are of networks that are allowed, or that the host itself uses;
// those of the cloud's nodes never do.
func TestPrivateNetworks(t *testing.T) {
	up := newResolver(t, zoneFile("allowed.example. 60 IN A 192.168.5.1", "host.example. 60 IN A 10.9.1.1", "other.example. 60 IN A 10.8.1.1", "node.example. 60 IN A 10.9.7.1"))
	var host atomic.Pointer[[]netip.Prefix]
	host.Store(&[]netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")})
	s := startForwarding(t, func(c *ForwardConfig) {
		c.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("192.168.5.0/24")}
		c.HostNetworks = func() []netip.Prefix { return *host.Load() }
		c.Forbidden = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.9.7.0/24")} }
	}, up)
	for question, want := range map[string]string{
		"allowed.example. A": "allowed.example. 60 IN A 192.168.5.1", "host.example. A": "host.example. 60 IN A 10.9.1.1",
		"other.example. A": "NOERROR", "node.example. A": "NOERROR",
	} {
		if got := text(query(t, s, "udp", "127.0.0.1", question)); got != want {
			t.Errorf("%s: %s, want %s", question, got, want)
		}
	}
}

func TestUpstreamsFail(t *testing.T) {
	works := func(t *testing.T, ups ...*resolver) {
		t.Helper()
		s := startForwarding(t, nil, ups...)
		start := time.Now()
		if r := query(t, s, "udp", "127.0.0.1", "www.example. A"); len(r.Answer) != 1 {
			t.Errorf("no answer: %v", r)
		}
		if d := time.Since(start); d > 2*patience {
			t.Errorf("took %v", d)
		}
	}
	good := zoneFile("www.example. 0 IN A 192.0.2.1")
	t.Run("refused then good", func(t *testing.T) { works(t, newResolver(t, refusing), newResolver(t, good)) })
	t.Run("silent then good", func(t *testing.T) { works(t, newResolver(t, silent), newResolver(t, good)) })
	t.Run("lost once", func(t *testing.T) {
		var n atomic.Int64
		works(t, newResolver(t, func(w dns.ResponseWriter, m *dns.Msg) {
			if n.Add(1) > 1 {
				good(w, m)
			}
		}))
	})
	t.Run("another question", func(t *testing.T) {
		works(t, newResolver(t, func(w dns.ResponseWriter, m *dns.Msg) {
			m.Question[0].Name = "evil.example."
			zoneFile("evil.example. 60 IN A 192.0.2.66")(w, m)
		}), newResolver(t, good))
	})

	t.Run("all dead", func(t *testing.T) {
		s := startForwarding(t, nil, newResolver(t, silent))
		done := make(chan *dns.Msg)
		go func() { done <- query(t, s, "udp", "127.0.0.1", "www.example. A") }()
		// Names in the private zone are answered at once.
		for range 100 {
			start := time.Now()
			if r := query(t, s, "udp", "127.0.0.1", "shop.micro.test. A"); len(r.Answer) != 1 || time.Since(start) > time.Second {
				t.Fatalf("own zone: %v after %v", r, time.Since(start))
			}
		}
		if r := <-done; r.Rcode != dns.RcodeServerFailure {
			t.Errorf("dead upstream: %v", r)
		}
	})
	t.Run("none known", func(t *testing.T) {
		s := startForwarding(t, func(c *ForwardConfig) { c.ResolvConf = filepath.Join(t.TempDir(), "none") })
		if r := query(t, s, "udp", "127.0.0.1", "www.example. A"); r.Rcode != dns.RcodeServerFailure {
			t.Errorf("no upstream: %v", r)
		}
	})
}

// TestSharedLookup lets many clients ask the same question of a slow upstream, which must get one query.
func TestSharedLookup(t *testing.T) {
	hold := make(chan struct{})
	up := newResolver(t, func(w dns.ResponseWriter, m *dns.Msg) {
		<-hold
		zoneFile("www.example. 60 IN A 192.0.2.1")(w, m)
	})
	s := startForwarding(t, nil, up)
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			if r := query(t, s, "udp", "127.0.0.1", "www.example. A"); len(r.Answer) != 1 {
				t.Errorf("%v", r)
			}
		})
	}
	for s.cfg.Forward.waits.taken() < 20 {
		runtime.Gosched()
	}
	close(hold)
	clients.Wait()
	if n := up.queries.Load(); n > 2 { // one, and one more if the query was sent again on a slow machine
		t.Errorf("the upstream was asked %d times", n)
	}
}

func (q *quota) taken() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}

func TestResolvConf(t *testing.T) {
	got := parseResolvConf([]byte("# x\nsearch a b\nnameserver 192.0.2.1\nnameserver fe80::1%lo # y\noptions edns0\nnameserver 0.0.0.0\nnameserver what\nnameserver\n"))
	want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[fe80::1%lo]:53"), netip.MustParseAddrPort("127.0.0.1:53")}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	path := filepath.Join(t.TempDir(), "resolv.conf")
	u := newUpstreams(nil, path)
	f := func(write string, own string, want ...string) {
		t.Helper()
		if write != "" {
			if err := os.WriteFile(path, []byte(write), 0o644); err != nil {
				t.Fatal(err)
			}
			u.changed, u.checked = time.Time{}, time.Time{}
		}
		ordered, changed := u.order([]netip.AddrPort{netip.MustParseAddrPort(own)})
		var got []string
		for _, up := range ordered {
			got = append(got, up.addr.Addr().String())
		}
		if !slices.Equal(got, want) || changed != (write != "") {
			t.Errorf("%q without %s: %v, want %v; changed: %v", write, own, got, want, changed)
		}
	}
	f("nameserver 127.0.0.1\nnameserver 192.0.2.1\n", "127.0.0.1:53", "192.0.2.1")
	f("", "127.0.0.1:5354", "127.0.0.1", "192.0.2.1")
	f("", "0.0.0.0:53", "192.0.2.1")
	f("nameserver 127.0.0.53\n", "127.0.0.1:53", "127.0.0.53")
	f("nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.1\n", "127.0.0.1:53", "192.0.2.1", "192.0.2.2")

	// An upstream that is down comes last, also after the file has changed.
	first := u.known[0]
	first.setSilent(time.Now())
	f("", "127.0.0.1:53", "192.0.2.2", "192.0.2.1")
	f("nameserver 192.0.2.1\nnameserver 192.0.2.3\n", "127.0.0.1:53", "192.0.2.3", "192.0.2.1")
	first.setHeard()
	f("", "127.0.0.1:53", "192.0.2.1", "192.0.2.3")
}
