package cloud

import (
	"strings"
	"testing"
	"time"
)

// token keeps a token of anna's, and returns who shows it.
func (y *story) token(id TokenID, limits TokenLimits, by Actor) Actor {
	y.Helper()
	t := Token{ID: id, Hash: "hash", Owner: "anna", Expires: noon.Add(time.Hour), TokenLimits: limits}
	y.do(y.s.CreateToken(t, by, ann))
	who := user("anna")
	who.Token = id
	return who
}

func TestTokenLimits(t *testing.T) {
	y := people(t)
	y.pushed(shop, PushSpec{})
	y.pushed(blog, PushSpec{})
	y.do(y.s.GrantRole("user:anna", RoleReleaser, DefaultGroup, root, ann))
	y.do(y.s.GrantRole("user:anna", RoleReleaser, "shop-team", root, ann))
	anna := user("anna")
	low := y.token("low", TokenLimits{Role: RoleTester}, anna)
	y.role(low, DefaultGroup, RoleTester)
	high := y.token("high", TokenLimits{Role: RoleAdmin}, anna) // a limit gives nothing
	y.role(high, DefaultGroup, RoleReleaser)
	team := y.token("team", TokenLimits{Groups: []GroupName{"shop-team"}}, anna)
	y.role(team, "shop-team", RoleReleaser)
	y.role(team, DefaultGroup, RoleNone)
	one := y.token("one", TokenLimits{Apps: []AppRef{shop}}, anna)
	y.role(one, DefaultGroup, RoleReleaser)
	y.role(one, "shop-team", RoleNone)
	may := func(by Actor, p Permission, in Scope, code Code) {
		t.Helper()
		if err := y.s.May(by, p, in); CodeOf(err) != code {
			t.Errorf("%s in %s: %v, want %q", p, in, err, code)
		}
	}
	app := func(name AppName) Scope { return Scope{Group: DefaultGroup, App: name} }
	may(one, MayDeploy, app("shop"), "")
	may(one, MayDeploy, app("blog"), NotFound)
	may(one, MayRead, app("blog"), NotFound)
	may(one, MayRead, Scope{Group: DefaultGroup}, "")
	may(one, MayDeploy, Scope{Group: DefaultGroup}, Denied)
	y.do(y.s.Map(Map{Host: "in.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	may(one, MayRoute, Scope{Group: DefaultGroup, Host: "in.example.com"}, "")
	y.do(y.s.Map(Map{Host: "in.example.com", Path: "/blog", Target: Target{ReleaseRef: blog.Release(0)}}, ann))
	may(one, MayRoute, Scope{Group: DefaultGroup, Host: "in.example.com"}, Denied)
	// A token has its owner's rights of the moment.
	y.do(y.s.RevokeRole("user:anna", RoleReleaser, DefaultGroup, root))
	y.role(high, DefaultGroup, RoleNone)
	y.do(y.s.RevokeToken("team", anna))
	y.role(team, "shop-team", RoleNone)
	if _, err := y.s.RevokeToken("low", user("bob")); CodeOf(err) != NotFound {
		t.Errorf("another one's token: %v", err)
	}
}

func TestTokensAreRefused(t *testing.T) {
	y := people(t)
	y.do(y.s.GrantRole("user:anna", RoleDeveloper, DefaultGroup, root, ann))
	anna := user("anna")
	plain := y.token("plain", TokenLimits{}, anna)
	for name, c := range map[string]struct {
		t    Token
		by   Actor
		code Code
		part string
	}{
		"too long":          {Token{Owner: "anna", Expires: noon.Add(91 * 24 * time.Hour)}, anna, Invalid, "at most 90 days"},
		"over already":      {Token{Owner: "anna", Expires: noon}, anna, Invalid, "more than nothing"},
		"no such role":      {Token{Owner: "anna", Expires: noon.Add(1), TokenLimits: TokenLimits{Role: "emperor"}}, anna, Invalid, "unknown role"},
		"a foreign group":   {Token{Owner: "anna", Expires: noon.Add(1), TokenLimits: TokenLimits{Groups: []GroupName{"qa"}}}, anna, NotFound, `no group "qa"`},
		"of nobody":         {Token{Expires: noon.Add(1), TokenLimits: TokenLimits{Role: RoleAdmin}}, anna, Denied, "administer the cloud"},
		"by a token":        {Token{Owner: "anna", Expires: noon.Add(1)}, plain, Denied, "a token cannot make tokens"},
		"nobody's, no role": {Token{Expires: noon.Add(1)}, root, Invalid, "needs a role"},
		"share":             {Token{Owner: "anna", Expires: noon.Add(1), TokenLimits: TokenLimits{Fade: &FadeLimit{Share: 101}}}, anna, Invalid, "between 1 and 100"},
	} {
		c.t.ID = "new"
		changes, err := y.s.CreateToken(c.t, c.by, ann)
		if changes != nil || CodeOf(err) != c.code || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v (%s)", name, err, CodeOf(err))
		}
	}
	// A group that goes must not leave a token wider than it was.
	y.do(y.s.GrantRole("user:anna", RoleDeveloper, "shop-team", root, ann))
	team := y.token("team", TokenLimits{Groups: []GroupName{"shop-team"}}, anna)
	y.do(y.s.DeleteGroup("shop-team"))
	y.role(team, DefaultGroup, RoleNone)
}

// A cross-fade by a token goes as far as the token allows, and waits there for somebody else.
func TestFadeLimit(t *testing.T) {
	y := people(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.do(y.s.GrantRole("user:anna", RoleReleaser, DefaultGroup, root, ann))
	const host = "www.example.com"
	y.do(y.s.Map(Map{Host: host, Path: "/", Public: true, Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	agent := y.token("agent", TokenLimits{Fade: &FadeLimit{Share: 5, For: Duration(time.Hour), Verdict: true}}, user("anna"))
	if err := y.s.MayFade(agent, DefaultFade()); err != nil {
		t.Error(err)
	}
	if _, plan := CutoverFade(); CodeOf(y.s.MayFade(agent, plan)) != Denied || CodeOf(y.s.MayMoveTraffic(agent)) != Denied {
		t.Error("the token cuts over")
	}
	if y.s.MayMoveTraffic(user("anna")) != nil {
		t.Error("a person is limited")
	}
	begin := func(by Actor) {
		t.Helper()
		changes, err := y.s.BeginCrossfade(host, "/", shop.Release(2), []int{1, 20, 100}, DefaultFade(), false, ann)
		y.do(y.s.LimitFades(by, changes), err)
	}
	fade := func() *Crossfade { return y.s.fadeOf(host, "/") }
	step := func(share float64) {
		t.Helper()
		y.do(y.s.StepCrossfade(host, "/", fade(), share, noon, nil, ann), nil)
	}
	begin(agent)
	step(1)
	step(20)
	if f := fade(); f.Share() != 5 || f.Paused {
		t.Errorf("at %v %%, paused %t", f.Share(), f.Paused)
	}
	step(100)
	if f := fade(); f == nil || f.Share() != 5 || !f.Paused || !strings.Contains(f.Reason, "at most 5 %") {
		t.Fatalf("%+v", f)
	}
	if _, over := fade().Expired(noon.Add(59 * time.Minute)); over {
		t.Error("its time is over too early")
	}
	if why, over := fade().Expired(noon.Add(time.Hour)); !over || !strings.Contains(why, "allows 1h") {
		t.Errorf("%q", why)
	}
	// The token may resume it, which leads no further; a person lifts the limit.
	resume := func(by Actor) {
		t.Helper()
		changes, err := y.s.PauseCrossfade(host, "/", false, ann)
		y.do(y.s.LimitFades(by, changes), err)
	}
	resume(agent)
	step(100)
	if f := fade(); f == nil || !f.Paused {
		t.Fatal("the token goes on beyond its limit")
	}
	resume(user("anna"))
	step(100)
	if fade() != nil {
		t.Error("a person cannot go on")
	}
}
