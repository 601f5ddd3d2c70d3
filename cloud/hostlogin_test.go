package cloud

import "testing"

func TestHostLogin(t *testing.T) {
	y := begin(t)
	y.push(shop, PushSpec{}, false)
	y.do(y.s.FinishRollout(shop, noon, ann), nil)
	on, off := true, false
	m := func(c HostLoginChange) ([]Change, error) {
		return y.s.Map(Map{Host: "www.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}, Login: c}, ann)
	}
	wants := func(want GroupName) {
		t.Helper()
		vhost, _ := y.s.VirtualHost("www.example.com")
		got := GroupName("")
		if vhost.Login != nil {
			got = vhost.Login.Group
		}
		if got != want {
			t.Errorf("it wants a log-in of %q, not %q", got, want)
		}
	}
	y.do(m(HostLoginChange{}))
	wants("")
	changes, err := m(HostLoginChange{Group: "qa"})
	y.refuses(changes, err, Invalid, "requires no log-in")
	changes, err = m(HostLoginChange{Required: &off, Group: "qa"})
	y.refuses(changes, err, Invalid, "no log-in is required")
	changes, err = m(HostLoginChange{Required: &on, Group: "nosuch"})
	y.refuses(changes, err, NotFound, `no group "nosuch"`)
	y.do(m(HostLoginChange{Required: &on}))
	wants(DefaultGroup)
	y.do(m(HostLoginChange{Group: "qa"}))
	wants("qa")
	y.do(m(HostLoginChange{}))
	wants("qa")
	// A swap moves what the hosts route to, and not who may see them.
	y.do(y.s.Map(Map{Host: "open.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	y.do(y.s.Swap("www.example.com", "open.example.com", false))
	wants("qa")

	y.do(y.s.CreateUser("anna", "hash", nil, ann))
	l := &HostLogin{Group: "qa"}
	root := Actor{Name: "root", Role: RoleAdmin}
	if y.s.Visits("anna", nil, l) || y.s.Visits("nobody", nil, l) || y.s.Visits("nobody", []Subject{"oidc:qa"}, l) {
		t.Error("who has no role sees the host")
	}
	y.do(y.s.GrantRole("oidc:qa", RoleTester, "qa", root, ann))
	if !y.s.Visits("anna", []Subject{"oidc:qa"}, l) {
		t.Error("a group of the provider's counts for nothing")
	}
	y.do(y.s.DisableUser("anna", true))
	if y.s.Visits("anna", []Subject{"oidc:qa"}, l) {
		t.Error("a disabled user sees the host")
	}
	y.do(m(HostLoginChange{Required: &off}))
	wants("")
	// A group that hosts want a log-in of stays.
	y.do(m(HostLoginChange{Required: &on, Group: "qa"}))
	changes, err = y.s.DeleteGroup("qa")
	y.refuses(changes, err, Conflict, "host www.example.com wants a log-in of group qa")
}
