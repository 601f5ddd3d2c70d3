package router

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/protoduction/micro/cloud"
)

// TestStickyMonotone: raising a share moves clients to it and nobody else.
func TestStickyMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, 100), 2, 4).Draw(t, "weights")
		raised := rapid.IntRange(0, len(weights)-1).Draw(t, "raised")
		by := rapid.IntRange(1, 100).Draw(t, "by")
		before, after := &Route{}, &Route{}
		for i, w := range weights {
			p := &Pool{Release: ref("shop").Release(i), hash: fnv(fmt.Sprint("shop@r", i))}
			before.shares = append(before.shares, share{uint64(w), p})
			if i == raised {
				w += by
			}
			after.shares = append(after.shares, share{uint64(w), p})
		}
		for client := range uint64(500) {
			a, b := before.held(mix(client)), after.held(mix(client))
			if a != b && b != before.shares[raised].pool {
				t.Fatalf("client %d moved from %s to %s as %d rose", client, a.Release, b.Release, raised)
			}
		}
	})
}

func TestStickyShares(t *testing.T) {
	r := &Route{}
	total := 0
	for i, w := range []int{90, 9, 1} {
		r.shares = append(r.shares, share{uint64(w), &Pool{Release: ref("shop").Release(i), hash: fnv(fmt.Sprint("shop@r", i))}})
		total += w
	}
	const n = 100_000
	counts := map[*Pool]int{}
	for client := range uint64(n) {
		counts[r.held(mix(client))]++
	}
	for _, s := range r.shares {
		p := float64(s.weight) / float64(total)
		if got, sigma := float64(counts[s.pool]), math.Sqrt(n*p*(1-p)); math.Abs(got-n*p) > 4*sigma {
			t.Errorf("%s: %v of %d clients, want %v", s.pool.Release, got, n, n*p)
		}
	}
}

func TestSticky(t *testing.T) {
	f := newFront(t, Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Local: func(netip.Addr) bool { return true }})
	f.world.app("shop", 1, 2)
	for n := 1; n <= 2; n++ {
		f.world.up("shop", n, backend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, fmt.Sprint("r", n)) }))
	}
	route := func(s *cloud.Sticky) {
		vhost := &cloud.VirtualHost{Host: "www.example.com", Group: cloud.DefaultGroup}
		f.world.put(vhost.With(cloud.Route{Path: "/", Sticky: s, Targets: parseTargets(t, []string{"shop@r1", "shop@r2"})}))
		f.swap()
	}
	// ask sends ten requests, all with the fields, and returns which releases answered.
	ask := func(fields ...string) string {
		t.Helper()
		p := dial(t, f.addr)
		seen := map[string]bool{}
		for range 10 {
			_, got := p.send(get("/", "www.example.com", fields...)).answer("GET")
			seen[got] = true
		}
		if len(seen) == 2 {
			return "both"
		}
		for s := range seen {
			return s
		}
		return ""
	}
	// spread tells that clients as such are still led to both.
	spread := func(field string) {
		t.Helper()
		seen := map[string]bool{}
		for i := range 30 {
			got := ask(fmt.Sprintf(field, i))
			if got == "both" {
				t.Fatalf(field+": led to both releases", i)
			}
			seen[got] = true
		}
		if len(seen) != 2 {
			t.Errorf("%s: all clients are led to one release", field)
		}
	}
	route(&cloud.Sticky{By: cloud.StickyHeader, Header: "X-User"})
	spread("X-User: u%d")
	if got := ask(); got != "both" {
		t.Errorf("without the header: %s", got)
	}
	route(&cloud.Sticky{By: cloud.StickyClient})
	spread("X-Forwarded-For: 6.6.6.6, 10.0.0.%d, 127.0.0.1")
	route(&cloud.Sticky{By: cloud.StickyCookie})
	spread("Cookie: a=b; " + cookieName + "=%032d; c=d")
	res, got := dial(t, f.addr).send(get("/", "www.example.com")).answer("GET")
	cookies := res.Cookies()
	if len(cookies) != 1 || cookies[0].Name != cookieName || !cookies[0].HttpOnly || len(cookies[0].Value) != cookieSize {
		t.Fatalf("cookies %v", cookies)
	}
	if again := ask("Cookie: " + cookieName + "=" + cookies[0].Value); again != got {
		t.Errorf("was led to %s, and with its cookie to %s", got, again)
	}
	if res, _ := dial(t, f.addr).send(get("/", "www.example.com", "Cookie: "+cookieName+"="+cookies[0].Value)).answer("GET"); len(res.Cookies()) != 0 {
		t.Error("a client that has a cookie got another")
	}
	if got := ask("Cookie: " + cookieName + "=" + strings.Repeat("x", 5000)); got != "both" {
		t.Errorf("a cookie of nobody's: %s", got)
	}
}
