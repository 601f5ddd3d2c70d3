package dnsd

import (
	"fmt"
	"net/netip"
	"testing"
)

// TestInspect checks that Inspect returns what the client's own query would return.
func TestInspect(t *testing.T) {
	s := startServer(t, nil)
	for _, c := range []struct{ client, name, want string }{
		{"127.0.0.1", "shop.micro.test", "this machine true NOERROR [127.0.0.1]"},
		{"127.0.0.4", "WWW.micro.test.", "the local network true NOERROR [127.0.0.1]"},
		{"127.0.0.1", "nobody.micro.test", "this machine true NXDOMAIN []"},
		{"127.0.0.9", "shop.micro.test", "outside true REFUSED []"},
		{"127.0.0.2", "shop.default.internal", "a container true NOERROR [10.77.0.5 10.77.0.6 fd77::8]"},
		{"127.0.0.1", "www.example.org", "this machine true REFUSED []"}, // this server forwards nothing
		{"127.0.0.1", "a..b", "this machine true FORMERR []"},
	} {
		l := s.Inspect(netip.MustParseAddr(c.client), c.name)
		if l.Class == Container && len(l.Addrs) > 1 && l.Addrs[0].Compare(l.Addrs[1]) > 0 {
			l.Addrs[0], l.Addrs[1] = l.Addrs[1], l.Addrs[0] // the order rotates
		}
		if got := fmt.Sprint(l.Class, " ", l.Ours, " ", l.Rcode, " ", l.Addrs); got != c.want {
			t.Errorf("%s asks for %s: %s, want %s", c.client, c.name, got, c.want)
		}
	}
}
