package cloud

import (
	"fmt"
	"testing"
)

func TestEgress(t *testing.T) {
	y := begin(t)
	y.push(shop, PushSpec{}, false)
	set := func(app AppName, c EgressChange) ([]Change, error) { return y.s.SetEgress(DefaultGroup, app, c) }
	shows := func(app AppName, want string) {
		t.Helper()
		e, ok := y.s.EgressOf(AppRef{DefaultGroup, app})
		got := "open"
		if ok {
			got = fmt.Sprintf("%q %v %v %v", e.App, e.Allowed, e.Networks(), e.Names())
		}
		if got != want {
			t.Errorf("%s: %s, want %s", app, got, want)
		}
	}
	shows("shop", "open")
	y.do(set("", EgressChange{}))
	shows("shop", `"" [] [] []`)
	y.do(set("", EgressChange{Allow: []string{"192.0.2.9/24", "API.example.com.", "*.example.org", "203.0.113.7"}}))
	shows("shop", `"" [*.example.org 192.0.2.0/24 203.0.113.7 api.example.com] [192.0.2.0/24 203.0.113.7/32] [*.example.org api.example.com]`)
	y.do(set("shop", EgressChange{Allow: []string{"api.example.com"}}))
	y.do(set("", EgressChange{Forbid: []string{"api.example.com", "192.0.2.0/24"}}))
	shows("shop", `"shop" [api.example.com] [] [api.example.com]`)
	shows("other", `"" [*.example.org 203.0.113.7] [203.0.113.7/32] [*.example.org]`)
	for _, bad := range []string{"", "localhost", "2001:db8::1", "2001:db8::/32", "http://a.example.com", "a.example.com:80", "a.example.com/x", "192.0.2.0/33", "*", "a b.example.com"} {
		if changes, err := set("", EgressChange{Allow: []string{bad}}); CodeOf(err) != Invalid || changes != nil {
			t.Errorf("%q: %v", bad, err)
		}
	}
	changes, err := set("nosuch", EgressChange{})
	y.refuses(changes, err, NotFound, `no app "nosuch"`)
	y.do(set("shop", EgressChange{Open: true}))
	shows("shop", `"" [*.example.org 203.0.113.7] [203.0.113.7/32] [*.example.org]`)
	y.do(set("shop", EgressChange{}))
	y.do(y.s.Delete(shop.Release(0)))
	if _, ok := y.s.Egress(DefaultGroup, "shop"); ok {
		t.Error("the policy of an app that is gone stays")
	}
}
