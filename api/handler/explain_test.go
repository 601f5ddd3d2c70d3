package handler

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// explained is a cloud in which everything works, for a case to break one thing of.
type explained struct {
	url, from string
	app       *cloud.App
	old, rel  *cloud.Release
	vhost     *cloud.VirtualHost
	instances []*cloud.Instance
	crashes   []*cloud.Crashes
	trace     Trace
	assume    bool
}

func newExplained() *explained {
	shop := ref("shop")
	born := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	release := func(n int) *cloud.Release {
		return &cloud.Release{ReleaseRef: shop.Release(n), Created: born, Up: true, Formation: cloud.Formation{cloud.Web: {Instances: 1}}}
	}
	e := &explained{
		url: "http://www.example.com/a?b", app: &cloud.App{AppRef: shop, Current: 2, Last: 2}, old: release(1), rel: release(2),
		vhost: &cloud.VirtualHost{Host: "www.example.com", Group: "default", Exposure: cloud.ExposedPublic, Routes: []cloud.Route{{
			Path: "/", Targets: []cloud.Target{{ReleaseRef: shop.Release(0)}},
		}}},
	}
	for i := range 2 {
		e.instances = append(e.instances, &cloud.Instance{
			ID: cloud.InstanceID(rune('a' + i)), Slot: cloud.Slot{ReleaseRef: shop.Release(2), Process: cloud.Web, Index: i},
			Phase: cloud.InstanceReady, Addr: netip.MustParseAddrPort("10.0.0.2:8080"),
		})
	}
	here := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	routing := Routing{Known: true, Host: "www.example.com", Path: "/", Mapped: true, Shares: []Share{{ReleaseRef: shop.Release(2), Part: 1}}}
	e.trace = Trace{
		Client: "this machine", Local: true, Resolver: Naming{Addrs: here}, Internal: routing, Public: routing,
		Own: append(here, netip.MustParseAddr("192.0.2.1")),
		Listeners: []Listener{
			{AddrPort: netip.MustParseAddrPort("127.0.0.1:80")}, {AddrPort: netip.MustParseAddrPort("192.0.2.1:80"), Public: true},
		},
	}
	return e
}

func (e *explained) private() {
	e.url = "http://shop.micro.test/"
	e.trace.Name = Naming{Ours: true, Code: "NOERROR", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
	e.trace.Internal = Routing{Known: true, Host: "shop.micro.test", Path: "/", Shares: e.trace.Internal.Shares}
	e.trace.Public = Routing{}
}

func (e *explained) secure() {
	e.url = "https://www.example.com/"
	e.trace.Listeners = append(e.trace.Listeners, Listener{AddrPort: netip.MustParseAddrPort("127.0.0.1:443"), TLS: true})
}

func (e *explained) stranger() {
	e.from, e.trace.Client, e.trace.Local = "198.51.100.9", "outside", false
	e.trace.Resolver.Addrs = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
}

func (e *explained) explain(t *testing.T) api.Explanation {
	t.Helper()
	changes := []cloud.Change{cloud.Put(&cloud.Group{Name: "default"}), cloud.Put(e.app), cloud.Put(e.old), cloud.Put(e.rel)}
	if e.vhost != nil {
		changes = append(changes, cloud.Put(e.vhost))
	}
	seen := cloud.NewInstances()
	for _, i := range e.instances {
		seen = seen.With(i)
	}
	for _, c := range e.crashes {
		seen = seen.WithCrashes(c)
	}
	probe, err := readProbe(e.url, e.from)
	if err != nil {
		t.Fatal(err)
	}
	probe.AssumeDNS = e.assume
	return explain(cloud.View{State: cloud.NewState().Apply(1, changes), Instances: seen}, "micro.test", probe, e.trace)
}

// Whichever hop is broken, it is the one that is named, with what to try next.
func TestExplainBrokenHops(t *testing.T) {
	nobody := func(e *explained) {
		e.instances, e.trace.Internal.Shares, e.trace.Public.Shares = nil, nil, nil
	}
	for _, c := range []struct {
		what      string
		hop, text string // of the hop that is broken
		hint      string
		breaks    func(*explained)
	}{
		{"a name that nobody has", "name", "no such host", "curl --resolve www.example.com:80:127.0.0.1", func(e *explained) { e.trace.Resolver = Naming{Code: "no such host"} }},
		{"a name of another machine's", "name", "is 203.0.113.5, which is not this machine", "point www.example.com at this machine", func(e *explained) {
			e.trace.Resolver.Addrs = []netip.Addr{netip.MustParseAddr("203.0.113.5")}
		}},
		{"a name that this machine's resolver does not know", "name", "this machine's resolver does not ask the node's DNS server, which says 127.0.0.1: it says SERVFAIL", "micro dns install", func(e *explained) {
			e.private()
			e.trace.Resolver = Naming{Code: "SERVFAIL"}
		}},
		{"a mapped host that DNS does not know", "name", "chat.example.test is mapped, and of mapped hosts it has the addresses of those under micro.test alone", "micro explain --assume-dns http://chat.example.test/", func(e *explained) {
			e.private()
			e.url, e.trace.Name = "chat.example.test", Naming{Ours: true, Code: "NXDOMAIN"}
			e.trace.Internal = Routing{Known: true, Host: "chat.example.test", Path: "/", Mapped: true}
		}},
		{"an app that is not there", "name", "NXDOMAIN: there is no nosuch.micro.test", "micro routes", func(e *explained) {
			e.private()
			e.url, e.trace.Name = "nosuch.micro.test", Naming{Ours: true, Code: "NXDOMAIN"}
		}},
		{"a private name from outside", "name", "local clients only, and 198.51.100.9 is outside", "--public", func(e *explained) {
			e.private()
			e.stranger()
			e.trace.Name = Naming{Ours: true, Code: "REFUSED"}
		}},
		{"a host whose certificate is not to be had", "certificate", "none yet; the last order failed: the CA is down", "micro certs", func(e *explained) {
			e.secure()
			e.trace.Certificates = []api.Certificate{{Name: "www.example.com", Status: api.Fail, Text: "none yet; the last order failed", Error: "the CA is down"}}
		}},
		{"a host that nobody vouches for", "certificate", "nobody vouches for www.example.com", "--public-https", func(e *explained) { e.secure() }},
		{"a name without an address", "name", "no listener has an address", "--http", func(e *explained) {
			e.private()
			e.trace.Name.Addrs = nil
		}},
		{"another port", "listener", "no listener of micro is on port 8080 of 127.0.0.1, but one is on 127.0.0.1:80", "micro explain http://www.example.com/a?b", func(e *explained) {
			e.url = "http://www.example.com:8080/a?b"
		}},
		{"no listener at all", "listener", "no listener of micro is on port", "micro doctor", func(e *explained) { e.trace.Listeners = nil }},
		{"https", "listener", "nothing listens for https on port 443", "http://www.example.com", func(e *explained) { e.url = "https://www.example.com/" }},
		{"no public listener", "listener", "192.0.2.1:80 answers local clients only", "--public-http", func(e *explained) {
			e.stranger()
			e.trace.Listeners = []Listener{{AddrPort: netip.MustParseAddrPort("192.0.2.1:80")}}
		}},
		{"an internal host from outside", "host", "is internal, so public listeners answer 404", "micro map shop www.example.com --public", func(e *explained) {
			e.stranger()
			e.trace.Public = Routing{}
		}},
		{"a host that is not mapped", "host", "mapped to nothing: 404", "micro map APP www.example.com", func(e *explained) {
			e.vhost, e.trace.Internal, e.trace.Public = nil, Routing{}, Routing{}
		}},
		{"a release that does not run", "host", "release r1 of app shop does not run", "micro releases shop", func(e *explained) {
			e.private()
			e.url, e.trace.Internal = "shop-20261122-r1.micro.test", Routing{}
		}},
		{"a path without a route", "path", "no route for /a: 404", "micro map APP www.example.com/a", func(e *explained) { e.trace.Internal.Path = "" }},
		{"a stopped release", "release", "shop@r2 is stopped: 503", "micro start shop@r2", func(e *explained) {
			nobody(e)
			e.rel.Stopped = true
		}},
		{"a release that failed", "release", "shop@r2 failed: it exits", "micro rollback shop", func(e *explained) {
			nobody(e)
			e.rel.Failure = &cloud.Failure{Reason: "it exits"}
		}},
		{"a release that retired", "release", "shop@r1 does not run: it is retired", "micro releases shop", func(e *explained) {
			nobody(e)
			e.private()
			e.url, e.trace.Internal.Host = "shop-20261122-r1.micro.test", "shop-20261122-r1.micro.test"
			e.trace.Internal.Shares = nil
		}},
		{"no instances asked for", "release", "scaled to no web instances", "micro scale shop@r2 -i 1", func(e *explained) {
			nobody(e)
			e.rel.Formation = cloud.Formation{}
		}},
		{"an app without a release", "release", "app shop has no release yet", "micro push --app shop", func(e *explained) {
			e.private()
			nobody(e)
			e.app.Current = 0
		}},
		{"a host without targets", "release", "has no target any more", "micro map APP www.example.com", func(e *explained) {
			nobody(e)
			e.vhost.Routes = nil
		}},
		{"no instance yet", "instance", "shop@r2 has no instance at all", "micro ps shop@r2", nobody},
		{"crashes", "instance", "no instance of shop@r2 can take requests", "micro logs shop@r2", func(e *explained) {
			nobody(e)
			e.crashes = []*cloud.Crashes{{Slot: cloud.Slot{ReleaseRef: ref("shop").Release(2), Process: cloud.Web}, Count: 4, Reason: "exited with code 1"}}
		}},
		{"a listener on IPv6 alone", "listener", "no listener of micro is on port 80 of 127.0.0.1", "micro doctor", func(e *explained) {
			e.trace.Listeners = []Listener{{AddrPort: netip.MustParseAddrPort("[::]:80"), Public: true}}
		}},
		{"a failing check", "instance", "no instance of shop@r2 can take requests", "micro logs shop@r2", func(e *explained) {
			e.trace.Internal.Shares = nil
			for _, i := range e.instances {
				i.Phase, i.Reason = cloud.InstanceUnready, "GET /healthz: 500"
			}
		}},
		{"an app that listens no more", "instance", "no instance of shop@r2 can take requests", "micro logs shop@r2", func(e *explained) {
			e.trace.Internal.Shares[0].Ejected = []string{"a", "b"}
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			e := newExplained()
			c.breaks(e)
			x := e.explain(t)
			if len(x.Hops) == 0 || x.Works {
				t.Fatalf("it works: %+v", x)
			}
			last := x.Hops[len(x.Hops)-1]
			if last.Name != c.hop || last.Status != api.Fail || !strings.Contains(last.Text, c.text) || !strings.Contains(last.Hint, c.hint) {
				t.Errorf("got %s: %s (%s)\nwant %s: %s (%s)", last.Name, last.Text, last.Hint, c.hop, c.text, c.hint)
			}
			for _, hop := range x.Hops[:len(x.Hops)-1] {
				if hop.Status == api.Fail {
					t.Errorf("%s is broken too: %s", hop.Name, hop.Text)
				}
			}
		})
	}
}

func TestExplainWhatWorks(t *testing.T) {
	for _, c := range []struct {
		what string
		make func(*explained)
		want string // parts of texts and details, in their order
	}{
		{"a mapped host", func(*explained) {}, "is this machine|127.0.0.1:80 answers internal and public hosts|is mapped|/ takes every path|shop@r2 takes all|2 instances are ready|shop/web.0@r2 is ready"},
		{"from outside", (*explained).stranger, "192.0.2.1, which is this machine|192.0.2.1:80 answers public hosts"},
		{"an app's own address", (*explained).private, "tells this machine that shop.micro.test is 127.0.0.1|own address"},
		{"its name not asked for", func(e *explained) {
			e.private()
			e.assume, e.trace.Resolver = true, Naming{Code: "SERVFAIL"}
		}, "shop.micro.test is assumed to resolve to this node|own address"},
		{"a public host before its DNS has moved", func(e *explained) {
			e.stranger()
			e.assume, e.trace.Resolver = true, Naming{Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.1")}}
		}, "www.example.com is assumed to resolve to this node|192.0.2.1:80 answers public hosts"},
		{"the same on every address", func(e *explained) {
			e.stranger()
			e.assume, e.trace.Resolver = true, Naming{}
			e.trace.Listeners = []Listener{{AddrPort: netip.MustParseAddrPort("0.0.0.0:80"), Public: true}}
		}, "www.example.com is assumed to resolve to this node|0.0.0.0:80 answers public hosts"},
		{"on a socket of both families", func(e *explained) {
			e.trace.Listeners = []Listener{{AddrPort: netip.MustParseAddrPort("[::]:80"), Public: true, Both: true}}
		}, "is this machine|[::]:80 answers public hosts"},
		{"under localhost", func(e *explained) {
			e.private()
			e.url = "Shop.localhost"
		}, "is this machine for every client|shop.micro.test is an app's own address"},
		{"a wildcard", func(e *explained) { e.url, e.trace.Internal.Host = "http://a.example.com", "*.example.com" }, "is not mapped itself, *.example.com matches it"},
		{"weights, stickiness, a mirror", func(e *explained) {
			route := &e.vhost.Routes[0]
			route.Mirror = &cloud.Mirror{To: ref("shop").Release(1), Percent: 10}
			route.Targets = []cloud.Target{
				{ReleaseRef: ref("shop").Release(2), Weighted: true, Weight: 95}, {ReleaseRef: ref("shop").Release(1), Weighted: true, Weight: 5},
			}
			e.trace.Internal.Sticky = "cookie"
			e.trace.Internal.Shares = []Share{{ReleaseRef: ref("shop").Release(2), Part: .95}, {ReleaseRef: ref("shop").Release(1), Part: .05}}
		}, "known by a cookie|10 % of safe requests are copied to shop@r1|2 releases take turns|shop@r2 takes 95 %|shop@r1 takes 5 %"},
		{"a target that is out", func(e *explained) {
			e.vhost.Routes[0].Targets = append(e.vhost.Routes[0].Targets, cloud.Target{ReleaseRef: ref("shop").Release(1)})
		}, "shop@r2 takes all|shop@r1 takes none: no instance of it is ready"},
	} {
		t.Run(c.what, func(t *testing.T) {
			e := newExplained()
			e.trace.Name.Code = "SERVFAIL"
			c.make(e)
			x := e.explain(t)
			var all strings.Builder
			for _, hop := range x.Hops {
				all.WriteString(hop.Text + "\n" + strings.Join(hop.Details, "\n") + "\n")
			}
			if !x.Works {
				t.Errorf("it does not work:\n%s", all.String())
			}
			rest := all.String()
			for want := range strings.SplitSeq(c.want, "|") {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("no %q in:\n%s", want, rest)
				}
				rest = after
			}
		})
	}
}

func TestReadVisit(t *testing.T) {
	for _, c := range []struct{ url, from, want string }{
		{"shop.micro.test", "", "http://shop.micro.test/ from 127.0.0.1"},
		{"HTTP://Shop.Micro.Test.:8080/A?B", "::ffff:10.0.0.1", "http://shop.micro.test:8080/A?B from 10.0.0.1"},
		{"https://[::1]/x", "", "https://[::1]/x from 127.0.0.1"},
	} {
		v, err := readProbe(c.url, c.from)
		if got := v.String() + " from " + v.From.String(); err != nil || got != c.want {
			t.Errorf("%s: %s, %v", c.url, got, err)
		}
	}
	for _, bad := range []string{"", "ftp://x", "http://", "http://a:b", "http://x:0", "http://x:99999", "http://%zz"} {
		if v, err := readProbe(bad, ""); cloud.CodeOf(err) != cloud.Invalid {
			t.Errorf("%q: %v, %v", bad, v, err)
		}
	}
	_, err := readProbe("x.test", "here")
	wantCode(t, err, cloud.Invalid, "not an IP address")
}

func TestExplainIsServed(t *testing.T) {
	s := newServed(t)
	x, err := s.Explain(t.Context(), api.ExplainQuery{URL: "nosuch.example.com", From: "192.0.2.7"})
	if err != nil || x.Works || x.From != "192.0.2.7" || len(x.Hops) != 1 || x.Hops[0].Name != "name" {
		t.Errorf("%+v, %v", x, err)
	}
}

func TestFiguresAreOfAGroup(t *testing.T) {
	s := newServed(t)
	all, err := s.Figures(t.Context(), "", "")
	if err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
	shop, err := s.Figures(t.Context(), "", "shop")
	if err != nil || len(shop) != 1 || shop[0].Release != 7 {
		t.Errorf("%v, %v", shop, err)
	}
}
