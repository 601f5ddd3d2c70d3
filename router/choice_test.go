package router

import (
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// given are a request's fields that no protocol has parsed: "name: value".
type given []string

func (g given) field(name string, nth int) []byte {
	for _, f := range g {
		if n, v, _ := strings.Cut(f, ": "); n == name {
			if nth == 0 {
				return []byte(v)
			}
			nth--
		}
	}
	return nil
}

// TestChoice: a request is chosen an endpoint for by what it asks for, whatever protocol that came in.
func TestChoice(t *testing.T) {
	w := newWorld()
	w.app("shop", 1, 2)
	w.up("shop", 1, "10.0.0.1:80")
	w.up("shop", 2, "10.0.0.2:80")
	w.app("cart", 1, 1)
	w.vhost(t, "www.example.com", cloud.ExposedPublic, map[string][]string{"/": {"shop"}, "/cart": {"cart"}})
	s := &cloud.VirtualHost{Host: "sticky.example.com", Group: cloud.DefaultGroup}
	w.put(s.With(cloud.Route{Path: "/", Sticky: &cloud.Sticky{By: cloud.StickyHeader, Header: "X-User"}, Targets: parseTargets(t, []string{"shop@r1", "shop@r2"})}))
	r := New(Config{})
	r.Swap((&Compiler{}).Compile(nil, w.view))
	inside, outside, denied := &origin{internal: true, client: []byte("10.0.0.9")}, &origin{client: []byte("192.0.2.1")}, &origin{internal: true, denied: true}
	f := func(from *origin, host, target string, fields given, want string) {
		t.Helper()
		var c choice
		c.reset(r, from, fields)
		c.host, c.target = []byte(host), []byte(target)
		fault := c.find()
		if fault.status == 0 {
			fault = c.claim()
		}
		got := c.release.String() + " " + fault.code
		if c.endpoint != nil {
			got += string(c.endpoint.ID)
			// Each endpoint is tried once.
			n := 0
			for ; c.endpoint != nil; n++ {
				c.reject()
				_ = c.claim()
			}
			if most := len(c.route.shares); n > max(most, 1) {
				t.Errorf("%s%s: claimed %d times", host, target, n)
			}
		}
		if strings.TrimSpace(got) != want {
			t.Errorf("%s%s: %s, want %s", host, target, got, want)
		}
	}
	f(inside, "Shop.micro.test.:80", "/", nil, "shop@r1 shop-r1-1")
	f(inside, "shop.micro.test", "/", given{"x-micro-release: r2"}, "shop@r2 shop-r2-2")
	f(inside, "shop.micro.test", "/", given{"x-micro-release: r9"}, "unknown_release")
	f(inside, "www.example.com", "/cart/1", nil, "cart@r1 no_endpoints")
	f(outside, "www.example.com", "/", given{"x-micro-release: r2"}, "shop@r1 shop-r1-1")
	f(outside, "shop.micro.test", "/", nil, "unknown_route")
	f(denied, "shop.micro.test", "/", nil, "not_exposed")
	for _, e := range []string{"shop-r1-1", "shop-r2-2"} {
		if one, _ := r.Table().endpoints.lookup(e); one.InFlight() != 0 {
			t.Errorf("%s: %d in flight", e, one.InFlight())
		}
	}
}
