package dnsd

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestLimiter(t *testing.T) {
	now := time.Unix(1, 0)
	l := newLimiter(10, func() time.Time { return now })
	f := func(client string, n, spent, slipped, dropped int) {
		t.Helper()
		var got [3]int
		for range n {
			got[l.take(netip.MustParseAddr(client))]++
		}
		if want := [3]int{spent, slipped, dropped}; got != want {
			t.Errorf("%d from %s: %v, want %v", n, client, got, want)
		}
	}
	f("192.0.2.1", 10, 10, 0, 0)
	f("192.0.2.99", 10, 0, 5, 5) // the same /24
	f("192.0.3.1", 10, 10, 0, 0)
	f("::ffff:192.0.3.1", 2, 0, 1, 1)
	f("2001:db8::1", 12, 10, 1, 1)
	f("2001:db8:0:1::1", 2, 0, 1, 1) // the same /56
	now = now.Add(500 * time.Millisecond)
	f("192.0.2.1", 6, 5, 1, 0)
	l = newLimiter(-1, nil)
	f("192.0.2.1", 1000, 1000, 0, 0)
}

// TestLimitedClient floods from the local network: answers over the limit are truncated, and TCP still works.
func TestLimitedClient(t *testing.T) {
	up := newResolver(t, zoneFile())
	f, err := NewForwarder(ForwardConfig{Upstreams: []netip.AddrPort{up.addr}})
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, func(c *Config) { c.Rate, c.Forward = 5, f })
	m := new(dns.Msg).SetQuestion("shop.micro.test.", dns.TypeA)
	client := clientFrom("udp", "127.0.0.4")
	client.Timeout = 100 * time.Millisecond
	var full, cut, lost int
	for range 20 {
		switch r, _, err := client.Exchange(m, s.Addrs()[0].String()); {
		case err != nil:
			lost++
		case r.Truncated && len(r.Answer) == 0:
			cut++
		default:
			full++
		}
	}
	if full == 0 || cut == 0 || lost == 0 {
		t.Errorf("%d answers, %d truncated, %d dropped", full, cut, lost)
	}
	// Clients outside the node's networks are refused, and not as often as they like either. Nobody offers them recursion.
	var refused int
	outside := clientFrom("udp", "127.0.0.9")
	outside.Timeout = 100 * time.Millisecond
	for range 20 {
		if r, _, err := outside.Exchange(m, s.Addrs()[0].String()); err == nil && r.Rcode == dns.RcodeRefused {
			if refused++; r.RecursionAvailable {
				t.Fatal("recursion is offered outside")
			}
		}
	}
	if refused == 0 || refused > 10 {
		t.Errorf("%d of 20 queries from outside were answered", refused)
	}
	if r, _, err := clientFrom("tcp", "127.0.0.4").Exchange(m, s.Addrs()[0].String()); err != nil || len(r.Answer) != 1 {
		t.Errorf("by TCP: %v %v", r, err)
	}
	client = clientFrom("udp", "127.0.0.1")
	for range 100 {
		if r, _, err := client.Exchange(m, s.Addrs()[0].String()); err != nil || len(r.Answer) != 1 {
			t.Fatalf("loopback is not limited: %v %v", r, err)
		}
	}
}
