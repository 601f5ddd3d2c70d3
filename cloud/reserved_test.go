package cloud

import (
	"strings"
	"testing"
)

var qaShop = AppRef{"qa", "shop"}

// world with apps shop and qa/shop, of two releases each, made at noon of 22 November 2026.
func addressed(t *testing.T) *story {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.pushed(qaShop, PushSpec{})
	y.pushed(shop, PushSpec{})
	return y
}

func TestReservedHosts(t *testing.T) {
	y := addressed(t)
	for host, part := range map[Host]string{
		"shop.micro.test":                "the address of app shop",
		"shop.qa.micro.test":             "the address of app qa/shop",
		"shop-20261122-r2.micro.test":    "the address of release shop@r2",
		"shop-20261122-r1.qa.micro.test": "the address of release qa/shop@r1",
		"api.micro.test":                 "the address of the API",
		"micro.test":                     "the address of the API",
		"*.micro.test":                   "every app of the domain",
		"*.qa.micro.test":                "every app of group qa",
		"localhost":                      "below localhost",
		"shop.localhost":                 "below localhost",
		"a.b.localhost":                  "below localhost",
		"127.0.0.1":                      "is an IP address",
		"203.0.113.7":                    "is an IP address",
		"2130706433":                     "is an IP address",
		"0x7f.1":                         "is an IP address",
		"www.0xff":                       "is an IP address",
		"a.256":                          "is an IP address",
	} {
		changes, err := y.s.Map(Map{Host: host, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann)
		if err == nil || changes != nil {
			t.Errorf("%s may be mapped", host)
			continue
		}
		if part == "below localhost" {
			part = "APP.localhost already routes to every app"
		}
		if got := err.Error(); !strings.Contains(got, part) {
			t.Errorf("%s: %s; want %s", host, got, part)
		}
		if HintOf(err) == "" {
			t.Errorf("%s: no hint", host)
		}
		if _, _, err := y.s.Push(Push{App: blog, Spec: PushSpec{Routes: []RouteSpec{{Host: host, Path: "/"}}}}, ann); CodeOf(err) != Conflict && CodeOf(err) != Invalid {
			t.Errorf("%s in a manifest: %v", host, err)
		}
	}
	for _, host := range []Host{
		"www.example.com", "new.micro.test", "shop-20261121-r2.micro.test", "shop-20261122-r9.micro.test", "shop-20261122-r02.micro.test",
		"shop.default.micro.test", "shop.other.micro.test", "x.shop.qa.micro.test", "*.new.micro.test", "localhost.example.com", "mylocalhost",
	} {
		if _, err := y.s.Map(Map{Host: host, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// An app cannot take an address that routes elsewhere, and may name its own in its manifest.
func TestNewAppsAddress(t *testing.T) {
	y := addressed(t)
	y.do(y.s.Map(Map{Host: "blog.micro.test", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	changes, _, err := y.s.Push(Push{App: blog}, ann)
	y.refuses(changes, err, Conflict, "would have the address blog.micro.test")
	own := PushSpec{Routes: []RouteSpec{{Host: "cms.micro.test", Path: "/"}}}
	y.pushed(AppRef{DefaultGroup, "cms"}, own)
	y.pushed(AppRef{DefaultGroup, "cms"}, own)
}

// Parse finds what App and Release wrote.
func TestParseAddress(t *testing.T) {
	const d Domain = "micro.test"
	for _, app := range []AppRef{shop, qaShop, {DefaultGroup, "a-b-20261122"}, {"qa", "r7"}, {DefaultGroup, "x-r1"}} {
		if refs := d.Parse(d.App(app)); len(refs) == 0 || refs[0] != app.Release(0) {
			t.Errorf("%s is parsed as %v", d.App(app), refs)
		}
		host := d.Release(app.Release(7), noon)
		if refs := d.Parse(host); len(refs) != 2 || refs[1] != app.Release(7) {
			t.Errorf("%s is parsed as %v", host, refs)
		}
	}
	for _, host := range []Host{"", "micro.test", ".micro.test", "shop.default.micro.test", "a.b.c.micro.test", "shop.example.com", "shopmicro.test"} {
		for _, ref := range d.Parse(host) {
			if d.App(ref.AppRef) != host {
				t.Errorf("%s is parsed as %s", host, ref)
			}
		}
	}
	if refs := Domain("").Parse("shop."); refs != nil {
		t.Errorf("without a domain: %v", refs)
	}
}

func BenchmarkMapOneOf10000(b *testing.B) {
	s := many(10_000)
	s = s.Apply(2, []Change{Put(&Settings{Domain: "micro.test"}), Put(&Group{Name: DefaultGroup})})
	m := Map{Host: "new.micro.test", Path: "/", Target: Target{ReleaseRef: AppRef{DefaultGroup, "app-1"}.Release(0)}}
	for b.Loop() {
		if _, err := s.Map(m, ann); err != nil {
			b.Fatal(err)
		}
	}
}
