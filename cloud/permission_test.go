package cloud

import (
	"strings"
	"testing"
)

// may lists the roles that have a permission.
func may(s *State, p Permission, in Scope) string {
	var roles []string
	for _, r := range append([]Role{RoleNone, "emperor"}, Roles()...) {
		if s.May(Actor{Name: "ann", Role: r}, p, in) == nil {
			roles = append(roles, string(r))
		}
	}
	return strings.Join(roles, " ")
}

func TestMay(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.do(y.s.Promote(shop.Release(4), true, ann))
	y.do(y.s.Map(Map{Host: "www.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(3)}, Public: true}, ann))
	y.do(y.s.Map(Map{Host: "in.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	const (
		everyone  = "auditor tester developer releaser admin"
		tester    = "tester developer releaser admin"
		developer = "developer releaser admin"
		releaser  = "releaser admin"
	)
	group := Scope{Group: DefaultGroup}
	app := func(n int) Scope { return Scope{Group: DefaultGroup, App: "shop", Release: n} }
	host := func(h Host) Scope { return Scope{Group: DefaultGroup, Host: h} }
	for _, c := range []struct {
		p    Permission
		in   Scope
		want string
	}{
		{MayRead, Scope{}, everyone}, {MayRead, group, everyone}, {MayRead, app(1), everyone},
		{MayReadSecret, app(2), developer},
		{MayOperate, group, tester},
		{MayOperate, app(2), tester},
		{MayOperate, app(0), developer}, // the current one
		{MayOperate, app(1), developer},
		{MayOperate, app(3), developer}, // staged, and a host routes to it
		{MayOperate, app(4), developer}, // staged, and about to be current
		{MayOperate, app(9), developer}, // not there
		{MayDeploy, group, developer}, {MayDeploy, app(2), developer},
		{MayRoute, host("in.example.com"), developer}, {MayRoute, host("new.example.com"), developer},
		{MayRoute, host("www.example.com"), releaser},
		{MayExpose, host("in.example.com"), releaser}, {MayExpose, group, releaser},
		{MayAdminister, Scope{}, "admin"},
		{"levitate", Scope{}, "admin"},
	} {
		if got := may(y.s, c.p, c.in); got != c.want {
			t.Errorf("%s in %s: %q, want %q", c.p, c.in, got, c.want)
		}
	}
	err := y.s.May(Actor{Name: "ann", Role: RoleTester}, MayOperate, app(0))
	if CodeOf(err) != Denied || err.Error() != "ann is not allowed to operate shop: it needs the role developer, as it is not a staged release" {
		t.Error(err)
	}
}

// Every permission has a role of its own choice: the fallback is for those that do not exist.
func TestPermissions(t *testing.T) {
	for _, p := range Permissions() {
		if _, ok := leastRoles[p]; !ok {
			t.Errorf("%s has no role", p)
		}
	}
	if len(leastRoles) != len(Permissions()) {
		t.Errorf("%d permissions have a role, and there are %d", len(leastRoles), len(Permissions()))
	}
}
