package router

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/protoduction/micro/cloud"
)

func parseRules(t testing.TB, pairs ...string) (rules []cloud.Rule) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		when, err := cloud.ParseCondition(pairs[i])
		if err != nil {
			t.Fatal(err)
		}
		to, err := cloud.ParseRef(pairs[i+1], cloud.DefaultGroup)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, cloud.Rule{When: when, To: to})
	}
	return rules
}

// TestRules: the first rule that matches leads a request; it is counted apart from those that the weights lead. The
// look-up without a request says the same.
func TestRules(t *testing.T) {
	w := newWorld()
	w.app("shop", 1, 4)
	for n := 1; n <= 3; n++ {
		w.up("shop", n, fmt.Sprintf("10.0.0.%d:80", n))
	}
	// Nothing of r4 runs.
	rules := parseRules(t, "header X-Beta: 1", "shop@r2", "cookie beta", "shop@r3", "address 192.0.2.0/24", "shop@r2", "header x-gone", "shop@r4")
	put := func(host cloud.Host, sticky *cloud.Sticky) {
		s := &cloud.VirtualHost{Host: host, Group: cloud.DefaultGroup}
		w.put(s.With(cloud.Route{Path: "/", Sticky: sticky, Targets: parseTargets(t, []string{"shop@r1"}), Rules: rules}))
	}
	put("www.example.com", nil)
	put("sticky.example.com", &cloud.Sticky{By: cloud.StickyCookie})
	r := New(Config{})
	r.Swap((&Compiler{}).Compile(nil, w.view))
	for _, tt := range []struct {
		client string
		fields given
		want   string
	}{
		{"10.0.0.9", nil, "shop@r1 false"},
		{"10.0.0.9", given{"x-beta: 1"}, "shop@r2 true"},
		{"10.0.0.9", given{"x-beta: 2"}, "shop@r1 false"},
		{"10.0.0.9", given{"x-beta: 2", "x-beta: 1"}, "shop@r2 true"},
		{"10.0.0.9", given{"cookie: a=b; beta=x"}, "shop@r3 true"},
		{"10.0.0.9", given{"cookie: a=b; betas=x"}, "shop@r1 false"},
		{"10.0.0.9", given{"cookie: beta=x", "x-beta: 1"}, "shop@r2 true"},
		{"192.0.2.9", nil, "shop@r2 true"},
		{"192.0.3.9", nil, "shop@r1 false"},
		{"10.0.0.9", given{"x-gone: 1"}, "shop@r1 false"},
	} {
		for _, host := range []string{"www.example.com", "sticky.example.com"} {
			peer := netip.MustParseAddr(tt.client)
			c := newChoice(r, &origin{internal: true, peer: netip.AddrPortFrom(peer, 1), client: []byte(tt.client)}, tt.fields)
			c.host, c.target = []byte(host), []byte("/")
			if f := c.find(); f.status != 0 {
				t.Fatal(f)
			}
			if f := c.claim(); f.status != 0 {
				t.Fatal(f)
			}
			if got := fmt.Sprint(c.release, " ", c.ruled); got != tt.want {
				t.Errorf("%s from %s with %v: %s, want %s", host, tt.client, tt.fields, got, tt.want)
			}
			trace := r.Trace(Question{Internal: true, Client: peer, Host: host, Target: "/", Fields: tt.fields})
			if got := fmt.Sprint(trace.Shares[0].Release, " ", trace.Rule != ""); got != tt.want || len(trace.Shares) != 1 {
				t.Errorf("trace: %s from %s with %v: %s, want %s", host, tt.client, tt.fields, got, tt.want)
			}
			// Where the rule's release fails the request, another one takes it, and it counts as one of the weights'.
			if c.ruled {
				c.reject()
				if f := c.claim(); f.status != 0 || c.release.N != 1 || c.ruled {
					t.Errorf("after a failure: %v %s %t", f, c.release, c.ruled)
				}
			}
			c.unclaim()
		}
	}
}

func newChoice(r *Router, from *origin, f fields) *choice {
	c := &choice{}
	c.reset(r, from, f)
	return c
}

// TestPercentRule: a part of the clients that is near enough to what was asked for, and always the same ones.
func TestPercentRule(t *testing.T) {
	w := newWorld()
	w.app("shop", 1, 2)
	w.up("shop", 1, "10.0.0.1:80")
	w.up("shop", 2, "10.0.0.2:80")
	s := &cloud.VirtualHost{Host: "www.example.com", Group: cloud.DefaultGroup}
	w.put(s.With(cloud.Route{Path: "/", Targets: parseTargets(t, []string{"shop@r1"}), Rules: parseRules(t, "percent 20", "shop@r2")}))
	r := New(Config{})
	r.Swap((&Compiler{Seed: 7}).Compile(nil, w.view))
	release := func(i int) int {
		client := fmt.Sprintf("10.1.%d.%d", i/250, i%250)
		c := newChoice(r, &origin{internal: true, client: []byte(client)}, given{})
		c.host, c.target = []byte("www.example.com"), []byte("/")
		if f := c.find(); f.status != 0 {
			t.Fatal(f)
		}
		if f := c.claim(); f.status != 0 {
			t.Fatal(f)
		}
		defer c.unclaim()
		return c.release.N
	}
	beta := 0
	for i := range 10_000 {
		n := release(i)
		if n == 2 {
			beta++
		}
		if again := release(i); again != n {
			t.Fatalf("client %d: r%d, then r%d", i, n, again)
		}
	}
	if beta < 1800 || beta > 2200 { // five standard deviations of a fair choice, and the seed is fixed
		t.Errorf("%d of 10000 clients", beta)
	}
}
