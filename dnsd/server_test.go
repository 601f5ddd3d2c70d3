package dnsd

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/protoduction/micro/cloud"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testNetworks gives loopback addresses the classes of clients: 127.0.0.2 is a container of group default,
// 127.0.0.3 a container of no group, 127.0.0.4 in the local network, and 127.0.0.9 outside.
func testNetworks() []Network {
	a := netip.MustParseAddr("127.0.0.1")
	return []Network{
		{Prefix: netip.MustParsePrefix("127.0.0.1/32"), Class: Loopback, A: a},
		{Prefix: netip.MustParsePrefix("127.0.0.2/31"), Class: Container, A: a},
		{Prefix: netip.MustParsePrefix("127.0.0.4/32"), Class: Local, A: a},
		{Prefix: netip.MustParsePrefix("::1/128"), Class: Loopback, A: a},
	}
}

// groups maps the addresses of containers to their groups.
type groups map[string]string

func (g groups) GroupOf(client netip.Addr) string { return g[client.String()] }

// startServer returns a server that runs until the test ends.
func startServer(t testing.TB, change func(*Config)) *Server {
	t.Helper()
	cfg := Config{
		Listen:   []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		Networks: testNetworks(), Groups: groups{"127.0.0.2": "default"}, Zone: compileZone(t, shopView()),
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

// clientFrom returns a client with a source address.
func clientFrom(network, source string) *dns.Client {
	d := &net.Dialer{Timeout: 5 * time.Second}
	switch addr := net.ParseIP(source); network {
	case "udp":
		d.LocalAddr = &net.UDPAddr{IP: addr}
	case "tcp":
		d.LocalAddr = &net.TCPAddr{IP: addr}
	}
	return &dns.Client{Net: network, Dialer: d, Timeout: 5 * time.Second}
}

func TestServer(t *testing.T) {
	s := startServer(t, nil)
	server := s.Addrs()[0].String()
	f := func(source, question string, want string) {
		t.Helper()
		for _, network := range []string{"udp", "tcp"} {
			name, rtype, _ := strings.Cut(question, " ")
			m := new(dns.Msg).SetQuestion(name, dns.StringToType[rtype])
			r, _, err := clientFrom(network, source).Exchange(m, server)
			if err != nil {
				t.Errorf("%s %s: %v", network, question, err)
				continue
			}
			if got, _, _ := strings.Cut(text(r), "\n"); got != want {
				t.Errorf("%s %s: %s, want %s", network, question, got, want)
			}
		}
	}
	f("127.0.0.1", "shop.micro.test. A", "shop.micro.test. 5 IN A 127.0.0.1")
	f("127.0.0.1", "nope.micro.test. A", "NXDOMAIN")
	f("127.0.0.1", "www.example.com. A", "REFUSED") // no forwarder
	f("127.0.0.2", "10-77-0-5.shop.default.internal. A", "10-77-0-5.shop.default.internal. 5 IN A 10.77.0.5")
	f("127.0.0.2", "tool.qa.internal. A", "NXDOMAIN")
	f("127.0.0.3", "shop.default.internal. A", "SERVFAIL")
	f("127.0.0.4", "shop.micro.test. A", "shop.micro.test. 5 IN A 127.0.0.1")
	f("127.0.0.9", "shop.micro.test. A", "REFUSED")

	v := shopView()
	v.State = v.State.Apply(43, []cloud.Change{cloud.Put(app("default", "late", 0))})
	s.Swap(Compile(s.Zone(), shopView(), v))
	f("127.0.0.1", "late.micro.test. A", "late.micro.test. 5 IN A 127.0.0.1")
}

// TestWildcardSocket lets the server listen on all addresses: answers must come from the address that was asked.
func TestWildcardSocket(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", "[::]:0"} {
		s := startServer(t, func(c *Config) { c.Listen = []netip.AddrPort{netip.MustParseAddrPort(listen)} })
		port := s.Addrs()[0].Port()
		for _, asked := range []string{"127.0.0.1", "127.0.0.77"} {
			m := new(dns.Msg).SetQuestion("shop.micro.test.", dns.TypeA)
			// The client's socket is connected, so it drops answers from other addresses.
			r, _, err := clientFrom("udp", "127.0.0.1").Exchange(m, netip.AddrPortFrom(netip.MustParseAddr(asked), port).String())
			if err != nil || len(r.Answer) != 1 {
				t.Errorf("%s by %s: %v %v", listen, asked, r, err)
			}
		}
	}
}

func TestPortTaken(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		var addr netip.AddrPort
		if network == "udp" {
			c, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			addr = c.LocalAddr().(*net.UDPAddr).AddrPort()
		} else {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			addr = l.Addr().(*net.TCPAddr).AddrPort()
		}
		free := netip.MustParseAddrPort("127.0.0.1:0")
		_, err := New(Config{Listen: []netip.AddrPort{free, addr}, Zone: compileZone(t, shopView())})
		if cloud.CodeOf(err) != cloud.Conflict || !strings.Contains(err.Error(), addr.String()) {
			t.Errorf("%s taken: %v", network, err)
		}
		if got, err := PickAddr(addr, free); err != nil || got != free {
			t.Errorf("PickAddr: %v %v", got, err)
		}
	}
}
