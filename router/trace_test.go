package router

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestTrace(t *testing.T) {
	f := newFront(t, Config{})
	f.shop("127.0.0.1:1", "127.0.0.1:2")
	f.world.app("shop", 1, 2)
	f.world.up("shop", 2, "127.0.0.1:3")
	f.world.vhost(t, "*.example.com", "public", map[string][]string{"/api": {"shop@r1=25", "shop@r2=75"}})
	f.world.vhost(t, "in.example.com", "internal", map[string][]string{"/": {"shop@r1"}})
	f.swap()
	for _, c := range []struct {
		internal     bool
		host, target string
		want         string
	}{
		{true, "Shop.micro.test.:80", "/a?b", "true shop.micro.test / false [shop@r1 1]"},
		{true, "shop.localhost", "/", "true shop.micro.test / false [shop@r1 1]"},
		{false, "shop.micro.test", "/", "false   false []"},
		{false, "a.example.com", "/api/x?y", "true *.example.com /api true [shop@r2 0.75 shop@r1 0.25]"},
		{false, "a.example.com", "/apix", "true *.example.com  true []"},
		{false, "in.example.com", "/", "true *.example.com  true []"},
		{true, "in.example.com", "/", "true in.example.com / true [shop@r1 1]"},
		{true, "b.a.example.com", "/", "false   false []"},
	} {
		l := f.Trace(Question{Internal: c.internal, Client: netip.MustParseAddr("127.0.0.1"), Host: c.host, Target: c.target})
		var shares []string
		for _, s := range l.Shares {
			shares = append(shares, fmt.Sprintf("%s %g", s.Release, s.Part))
		}
		if got := fmt.Sprint(l.Known, " ", l.Host, " ", l.Path, " ", l.Mapped, " ", shares); got != c.want {
			t.Errorf("%s%s: %s, want %s", c.host, c.target, got, c.want)
		}
	}
}
