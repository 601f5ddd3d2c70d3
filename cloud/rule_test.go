package cloud

import (
	"fmt"
	"testing"
)

func TestParseCondition(t *testing.T) {
	for text, want := range map[string]string{
		"header X-Beta: 1":         "header x-beta: 1",
		"header X-Beta:1, 2 ":      "header x-beta: 1, 2",
		"header x-beta":            "header x-beta",
		"cookie Beta=a=b":          "cookie Beta=a=b",
		"cookie Beta":              "cookie Beta",
		"address 192.0.2.7/24":     "address 192.0.2.0/24",
		"address ::ffff:192.0.2.7": "address 192.0.2.7/32",
		"address 2001:db8::1":      "address 2001:db8::1/128",
		"percent 5":                "percent 5",
		" percent  5% ":            "percent 5",
	} {
		c, err := ParseCondition(text)
		if err != nil || c.String() != want {
			t.Errorf("%q: %q, %v; want %q", text, c, err, want)
			continue
		}
		if again, err := ParseCondition(c.String()); err != nil || again != c {
			t.Errorf("%q is read as %+v, %v", c, again, err)
		}
	}
	for _, text := range []string{
		"", "header", "header :", "header a b: 1", "header X: a\r\nY: b", "cookie", "cookie a;b=1", "cookie a=b;c", "address", "address shop",
		"address 192.0.2.0/33", "address fe80::1%eth0", "percent", "percent 0", "percent 100", "percent five", "weather sunny",
	} {
		if c, err := ParseCondition(text); CodeOf(err) != Invalid || HintOf(err) == "" {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
}

func TestRules(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.pushed(blog, PushSpec{})
	y.pushed(AppRef{"qa", "shop"}, PushSpec{})
	y.do(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	set := func(when string, to ReleaseRef) ([]Change, error) {
		t.Helper()
		c, err := ParseCondition(when)
		if err != nil {
			t.Fatal(err)
		}
		return y.s.SetRule(www, "/", Rule{When: c, To: to})
	}
	rules := func(want string) {
		t.Helper()
		vhost, _ := y.s.VirtualHost(www)
		got := ""
		for _, r := range vhost.Routes[0].Rules {
			got += fmt.Sprintf("%s → %s; ", r.When, r.To)
		}
		if got != want {
			t.Errorf("rules %s want %s", got, want)
		}
	}
	// What only a rule leads to runs, for the public too.
	y.phases(shop, "r1 current, r2 staged")
	y.do(set("header X-Beta: 1", shop.Release(2)))
	y.do(set("percent 5", blog.Release(0)))
	y.phases(shop, "r1 current, r2 routed")
	rules("header x-beta: 1 → shop@r2; percent 5 → blog; ")
	y.do(set("header x-beta: 1", shop.Release(1)))
	rules("header x-beta: 1 → shop@r1; percent 5 → blog; ")
	if changes, err := set("percent 5", blog.Release(0)); err != nil || changes != nil {
		t.Errorf("the same again: %v, %v", changes, err)
	}

	changes, err := set("percent 6", AppRef{"qa", "shop"}.Release(0))
	y.refuses(changes, err, Conflict, "group")
	changes, err = set("percent 6", shop.Release(9))
	y.refuses(changes, err, NotFound, "no release r9")
	changes, err = y.s.SetRule(www, "/nosuch", Rule{When: Condition{By: WhenPercent, Percent: 1}, To: shop.Release(0)})
	y.refuses(changes, err, NotFound, "no route")
	changes, err = y.s.DropRule(www, "/", Condition{By: WhenPercent, Percent: 7})
	y.refuses(changes, err, NotFound, `no rule "percent 7"`)

	// An approval is asked for by a rule as well.
	y.do(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}, Public: true}, ann))
	y.do(y.s.RequireApproval(DefaultGroup, true))
	changes, err = set("cookie beta", shop.Release(2))
	if err != nil {
		t.Fatal(err)
	}
	y.refuses(nil, y.s.CheckApproval(changes), Conflict, "shop@r2 is not approved")
	y.do(y.s.RequireApproval(DefaultGroup, false))

	// Rules to an app go with it.
	y.do(y.s.Delete(blog.Release(0)))
	rules("header x-beta: 1 → shop@r1; ")
	y.do(y.s.DropRule(www, "/", Condition{By: WhenHeader, Name: "x-beta", Value: "1"}))
	rules("")
	for i := range maxRules {
		y.do(set(fmt.Sprintf("header x-%d", i), shop.Release(0)))
	}
	changes, err = set("header x", shop.Release(0))
	y.refuses(changes, err, Conflict, "20 rules")
}
