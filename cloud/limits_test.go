package cloud

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestLimitTexts: what is set reads back as it was written, and nothing else is accepted.
func TestLimitTexts(t *testing.T) {
	kinds := map[string]LimitKind{}
	for _, k := range LimitKinds {
		kinds[k.Name] = k
		if k.Text(DefaultLimits) == "default" {
			t.Errorf("%s has no default", k.Name)
		}
		var l Limits
		if err := k.Set(&l, k.Text(DefaultLimits)); err != nil || k.Text(l) != k.Text(DefaultLimits) {
			t.Errorf("%s: %v, %s is read as %s", k.Name, err, k.Text(DefaultLimits), k.Text(l))
		}
		b, err := json.Marshal(l)
		var back Limits
		if err != nil || json.Unmarshal(b, &back) != nil || back != l {
			t.Errorf("%s: %s is read as %+v", k.Name, b, back)
		}
	}
	good := func(name, text, want string) {
		t.Helper()
		var l Limits
		if err := kinds[name].Set(&l, text); err != nil || kinds[name].Text(l) != want {
			t.Errorf("%s=%s: %v, %s", name, text, err, kinds[name].Text(l))
		}
	}
	good("answer-timeout", "300s", "5m")
	good("answer-timeout", "1h", "1h")
	good("answer-timeout", "90m", "1h30m")
	good("answer-timeout", "1h0m1s", "1h0m1s")
	good("answer-timeout", "default", "default")
	good("max-body", "2048M", "2G")
	good("max-body", "1025B", "1025B")
	good("max-body", "none", "none")
	bad := func(name, text, says string) {
		t.Helper()
		var l Limits
		if err := kinds[name].Set(&l, text); CodeOf(err) != Invalid || !strings.Contains(err.Error(), says) || l != (Limits{}) {
			t.Errorf("%s=%s: %v", name, text, err)
		}
	}
	bad("answer-timeout", "5", "not a time")
	bad("answer-timeout", "-5s", "not a time")
	bad("answer-timeout", "0s", "not a time")
	bad("answer-timeout", "200h", "168h")
	bad("answer-timeout", "none", "cannot be switched off")
	bad("max-body", "0B", "between 1B")
	bad("max-body", "5m5", "number with a unit")
	bad("max-body", "2", "needs a unit")
}

func TestSetLimits(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{Routes: []RouteSpec{{Host: "www.example.com", Path: "/", Limits: Limits{MaxBody: 7}}}})
	limits := func() Limits { v, _ := y.s.VirtualHost("www.example.com"); return v.Routes[0].Limits }
	if got := limits(); got != (Limits{MaxBody: 7}) {
		t.Errorf("%+v", got)
	}
	y.do(y.s.SetRouteLimits("www.example.com", "/", map[string]string{"answer-timeout": "5m"}))
	y.do(y.s.SetLimits(map[string]string{"header-timeout": "5s", "max-body": "1G"}))
	if got := limits().Texts(); len(got) != 2 || got["answer-timeout"] != "5m" || got["max-body"] != "7B" {
		t.Errorf("%v", got)
	}
	y.do(y.s.SetRouteLimits("www.example.com", "/", map[string]string{"max-body": "default"}))
	if got := y.s.Settings(); got.Limits.MaxBody != 1<<30 || limits().MaxBody != 0 {
		t.Errorf("%+v, %+v", got, limits())
	}
	// A push sets again what the manifest says, and leaves the rest.
	y.pushed(shop, PushSpec{Routes: []RouteSpec{{Host: "www.example.com", Path: "/", Limits: Limits{MaxBody: 9}}}})
	if got := limits().Texts(); len(got) != 2 || got["max-body"] != "9B" {
		t.Errorf("%v", got)
	}
	if _, err := y.s.SetRouteLimits("www.example.com", "/", map[string]string{"header-timeout": "5s", "nothing": "1"}); CodeOf(err) != Invalid || !strings.Contains(err.Error(), "limit of connections") || !strings.Contains(err.Error(), "unknown limit") {
		t.Error(err)
	}
	for _, wrong := range []Limits{{HeaderTimeout: 5}, {MaxBody: -7}, {AnswerTimeout: 1}} {
		if _, _, err := y.s.Push(Push{App: shop, Spec: PushSpec{Routes: []RouteSpec{{Host: "www.example.com", Path: "/", Limits: wrong}}}}, ann); CodeOf(err) != Invalid {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}
