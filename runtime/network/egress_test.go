package network

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
)

var nearAddr = netip.MustParseAddr("192.0.2.1") // outside too

// attachApp attaches a container of an app.
func attachApp(t *testing.T, n *Network, id string, tenant uint32, app string) place {
	t.Helper()
	ep, err := n.Reserve(id, tenant, Access{})
	if err != nil {
		t.Fatal(err)
	}
	n.Label(id, app)
	if err := n.Attach(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return at(t, ep)
}

func setEgress(t *testing.T, n *Network, policies map[string]Policy) {
	t.Helper()
	if err := n.SetEgress(policies); err != nil {
		t.Fatal(err)
	}
}

type reaching struct {
	name string
	from place
	to   netip.Addr
	ok   bool
}

func checkReach(t *testing.T, when string, cases []reaching) {
	t.Helper()
	for _, c := range cases {
		var err error
		inside(t, c.from.ns, func() error {
			var conn net.Conn
			if conn, err = net.DialTimeout("tcp4", netip.AddrPortFrom(c.to, 8080).String(), 10*time.Second); err == nil {
				conn.Close()
			}
			return nil
		})
		if (err == nil) != c.ok {
			t.Errorf("%s: %s: %v", when, c.name, err)
		}
		var waited net.Error
		if errors.As(err, &waited) && waited.Timeout() {
			t.Errorf("%s: %s: dropped instead of refused", when, c.name)
		}
	}
}

// A closed group reaches what its policy allows and what is inside, and nothing else; an app's own policy goes before
// its group's; other groups are as they were.
func TestEgress(t *testing.T) {
	n := testNetwork(t, "a", "10.60.0.0/24")
	place{t, outside, farAddr}.listen(8080)
	open := attachApp(t, n, "open", 0, "default/web")
	shop := attachApp(t, n, "shop", 1, "team/shop")
	setEgress(t, n, map[string]Policy{"team/": {Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}, "team/mail": {Names: []string{"api.example.com"}}})
	later := attachApp(t, n, "later", 1, "team/other")
	mail := attachApp(t, n, "mail", 1, "team/mail")
	shop.listen(8080)
	host(t).listen(53)
	cases := []reaching{
		{"an open group", open, nearAddr, true},
		{"an allowed network", shop, farAddr, true},
		{"another address", shop, nearAddr, false},
		{"one that came later", later, nearAddr, false},
		{"its own policy", mail, farAddr, false},
		{"within the group", mail, shop.IP, true},
	}
	checkReach(t, "closed", cases)
	if mail.answer(mail.IP.String(), "udp", n.Gateway(), 53) == "" {
		t.Error("a closed container has no DNS")
	}
	if shop.ask("tcp", linkLocal, 8080) != "" || open.ask("tcp", linkLocal, 8080) != "" {
		t.Error("metadata can be reached")
	}
	if p, closed := n.Egress(mail.IP); !closed || len(p.Networks) != 0 {
		t.Errorf("mail goes by %v, %v", p, closed)
	}
	if _, closed := n.Egress(open.IP); closed {
		t.Error("an open container is closed")
	}

	// What a name has is open to whom it was told, and to nobody else.
	if err := n.Resolved(mail.IP, "api.example.com", []netip.Addr{nearAddr}, time.Minute); err != nil {
		t.Fatal(err)
	}
	cases = append(cases, reaching{"a name's address", mail, nearAddr, true})
	checkReach(t, "resolved", cases)

	// It holds after the rules were flushed.
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	c.FlushRuleset()
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := n.Repair(); err != nil {
		t.Fatal(err)
	}
	checkReach(t, "flushed", cases)

	// And in the next process, which keeps what was told.
	next, err := Open(testConfig(t, "a", "10.60.0.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	setEgress(t, next, n.egress.policies)
	var all []Endpoint
	for _, ep := range n.endpoints {
		all = append(all, ep.Endpoint)
	}
	if _, err := next.Sync(all); err != nil {
		t.Fatal(err)
	}
	checkReach(t, "restarted", cases)
	// An address goes with its name.
	setEgress(t, next, map[string]Policy{"team/": {}, "team/mail": {Names: []string{"*.example.com"}}})
	checkReach(t, "of an unknown name", []reaching{{"a name's address", mail, nearAddr, false}})
	if err := next.Resolved(mail.IP, "api.example.com", []netip.Addr{nearAddr}, time.Minute); err != nil {
		t.Fatal(err)
	}
	setEgress(t, next, map[string]Policy{"team/": {}, "team/mail": {Names: []string{"api.example.com"}}})
	checkReach(t, "still allowed", []reaching{{"a name's address", mail, nearAddr, true}})
	setEgress(t, next, map[string]Policy{"team/": {}})
	checkReach(t, "no longer allowed", []reaching{{"a name's address", mail, nearAddr, false}})
	setEgress(t, next, nil)
	checkReach(t, "opened", []reaching{{"after its end", mail, farAddr, true}, {"in the group", shop, nearAddr, true}})
	if !next.egressIntact() {
		t.Error("without policies the table is missing")
	}
}

// Closing the way out ends what goes on.
func TestEgressEndsConnections(t *testing.T) {
	n := testNetwork(t, "a", "10.60.0.0/24")
	app := attachApp(t, n, "app", 1, "team/shop")
	var server net.Listener
	inside(t, outside, func() (err error) {
		server, err = net.Listen("tcp4", ":8081")
		return err
	})
	defer server.Close()
	accepted := make(chan net.Conn, 2)
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func(to netip.Addr) net.Conn {
		var c net.Conn
		inside(t, app.ns, func() (err error) {
			c, err = net.DialTimeout("tcp4", netip.AddrPortFrom(to, 8081).String(), 10*time.Second)
			return err
		})
		t.Cleanup(func() { c.Close() })
		return c
	}
	echo := func(c, s net.Conn, limit time.Duration) bool {
		_ = s.SetReadDeadline(time.Now().Add(limit))
		_, _ = c.Write([]byte("?"))
		_, err := s.Read(make([]byte, 1))
		return err == nil
	}
	denied := dial(nearAddr)
	deniedAt := <-accepted
	kept := dial(farAddr)
	keptAt := <-accepted
	if !echo(denied, deniedAt, 10*time.Second) || !echo(kept, keptAt, 10*time.Second) {
		t.Fatal("nothing goes through")
	}
	setEgress(t, n, map[string]Policy{"team/": {Networks: []netip.Prefix{netip.PrefixFrom(farAddr, 32)}}})
	if echo(denied, deniedAt, 500*time.Millisecond) {
		t.Error("a connection that is no longer allowed goes on")
	}
	if !echo(kept, keptAt, 10*time.Second) {
		t.Error("an allowed connection ended")
	}
}

func TestPolicyAllows(t *testing.T) {
	p := Policy{Names: []string{"api.example.com", "*.example.org"}}
	for name, want := range map[string]bool{
		"api.example.com": true, "example.com": false, "x.api.example.com": false, "a.example.org": true, "a.b.example.org": true, "example.org": false,
		"aexample.org": false, ".example.org": false, "": false, "example.org.evil.com": false,
	} {
		if got := p.Allows(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
