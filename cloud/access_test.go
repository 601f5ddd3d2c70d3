package cloud

import (
	"strings"
	"testing"
)

var root = Actor{Name: "root", Role: RoleAdmin}

// people is a cloud with the users anna and bob, and the group shop-team.
func people(t *testing.T) *story {
	y := begin(t)
	y.do(y.s.CreateUser("anna", "hash", nil, ann))
	y.do(y.s.CreateUser("bob", "hash", nil, ann))
	y.do(y.s.CreateGroup("shop-team", ann))
	return y
}

func user(n UserName) Actor { return Actor{Name: string(n), Subjects: []Subject{n.Subject()}} }

func (y *story) role(by Actor, g GroupName, want Role) {
	y.Helper()
	if got := y.s.RoleIn(by, g); got != want {
		y.Errorf("%s is %q in %q, want %q", by.Name, got, g, want)
	}
}

func TestRoles(t *testing.T) {
	y := people(t)
	anna := user("anna")
	y.role(anna, "shop-team", RoleNone)
	y.do(y.s.GrantRole("user:anna", RoleTester, "shop-team", root, ann))
	y.role(anna, "shop-team", RoleTester)
	y.role(anna, "", RoleNone)
	y.role(anna, "qa", RoleNone)
	y.do(y.s.GrantRole("user:anna", RoleDeveloper, "shop-team", root, ann)) // in place of the other
	y.role(anna, "shop-team", RoleDeveloper)
	y.do(y.s.GrantRole("user:anna", RoleAuditor, "", root, ann))
	y.role(anna, "qa", RoleAuditor)
	y.role(anna, "shop-team", RoleDeveloper)
	y.do(y.s.GrantRole("unix:wheel", RoleReleaser, "qa", root, ann))
	member := anna
	member.Subjects = append(member.Subjects, UnixGroup("wheel"))
	y.role(member, "qa", RoleReleaser)
	y.do(y.s.DisableUser("anna", true))
	y.role(anna, "shop-team", RoleNone)
	y.do(y.s.DisableUser("anna", false))
	y.do(y.s.RevokeRole("user:anna", RoleDeveloper, "shop-team", root))
	y.role(anna, "shop-team", RoleAuditor)
	y.do(y.s.DeleteUser("anna"))
	y.role(anna, "qa", RoleNone)
	for g := range y.s.GrantsOf("user:anna") {
		t.Errorf("%s is left", g.Key())
	}
	y.do(y.s.CreateUser("anna", "hash", nil, ann))
	y.role(anna, "qa", RoleNone) // another person of the same name
}

func TestGrantsAreRefused(t *testing.T) {
	y := people(t)
	y.do(y.s.GrantRole("user:anna", RoleAdmin, "shop-team", root, ann))
	y.do(y.s.GrantRole("user:bob", RoleReleaser, "shop-team", root, ann))
	anna, bob := user("anna"), user("bob")
	refuse := func(changes []Change, err error, code Code, part string) {
		t.Helper()
		if changes != nil || CodeOf(err) != code || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v (%s), want %s: %s", err, CodeOf(err), code, part)
		}
	}
	grant := func(c Subject, r Role, g GroupName, by Actor, code Code, part string) {
		t.Helper()
		changes, err := y.s.GrantRole(c, r, g, by, ann)
		refuse(changes, err, code, part)
	}
	grant("user:anna", RoleAdmin, "", anna, Denied, "not allowed to administer the cloud")
	grant("user:bob", RoleAdmin, "", anna, Denied, "not allowed to administer the cloud")
	grant("user:anna", RoleTester, "shop-team", anna, Denied, "their own roles")
	grant("user:anna", RoleTester, "qa", anna, NotFound, `no group "qa"`)
	grant("user:anna", RoleTester, "shop-team", bob, Denied, "it needs the role admin")
	grant("user:carl", RoleTester, "shop-team", anna, NotFound, `no user "carl"`)
	grant("user:bob", "emperor", "shop-team", anna, Invalid, `unknown role "emperor"`)
	grant("user:bob", RoleTester, "nosuch", root, NotFound, `no group "nosuch"`)
	changes, err := y.s.RevokeRole("user:bob", RoleTester, "shop-team", anna)
	refuse(changes, err, NotFound, "bob does not have the role tester in group shop-team")
	changes, err = y.s.RevokeRole("user:anna", RoleAdmin, "shop-team", anna)
	refuse(changes, err, Denied, "their own roles")
	for _, text := range []string{"", "Anna", "micro", "root", "a b", "unix:", "oidc:a\nb", "ldap:x", "user:", strings.Repeat("a", 65)} {
		if _, err := ParseSubject(text); CodeOf(err) != Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLastAdminStays(t *testing.T) {
	y := people(t)
	y.do(y.s.GrantRole("user:anna", RoleAdmin, "", root, ann))
	const last = "anna is the last admin of the cloud"
	refused := func(changes []Change, err error) {
		t.Helper()
		y.refuses(changes, err, Conflict, last)
	}
	refused(y.s.DeleteUser("anna"))
	refused(y.s.DisableUser("anna", true))
	refused(y.s.RevokeRole("user:anna", RoleAdmin, "", root))
	refused(y.s.GrantRole("user:anna", RoleTester, "", root, ann))
	y.do(y.s.GrantRole("user:bob", RoleAdmin, "", root, ann))
	y.do(y.s.DisableUser("bob", true))
	refused(y.s.DeleteUser("anna"))
	y.do(y.s.DisableUser("bob", false))
	y.do(y.s.DeleteUser("anna"))
	changes, err := y.s.DeleteUser("bob")
	y.refuses(changes, err, Conflict, "bob is the last admin")
}

// A number of a group is never given away twice: it is a range of user ids.
func TestGroups(t *testing.T) {
	y := people(t)
	number := func(n GroupName) uint32 {
		g, _ := y.s.Group(n)
		return g.Number
	}
	if number("shop-team") != 2 { // qa has 1
		t.Errorf("shop-team has %d", number("shop-team"))
	}
	y.do(y.s.GrantRole("user:anna", RoleTester, "shop-team", root, ann))
	y.do(y.s.SetQuota(Quota{Group: "shop-team", Instances: 3}))
	y.do(y.s.DeleteGroup("shop-team"))
	if dump(y.s) == "" || strings.Contains(dump(y.s), "shop-team") {
		t.Errorf("of a deleted group is left:\n%s", dump(y.s))
	}
	y.do(y.s.CreateGroup("later", ann))
	if number("later") != 3 {
		t.Errorf("a number is used again: %d", number("later"))
	}
	y.pushed(AppRef{"later", "shop"}, PushSpec{})
	changes, err := y.s.DeleteGroup("later")
	y.refuses(changes, err, Conflict, "group later owns app later/shop")
	changes, err = y.s.DeleteGroup("default")
	y.refuses(changes, err, Conflict, "always there")
	changes, err = y.s.DeleteGroup("nosuch")
	y.refuses(changes, err, NotFound, `no group "nosuch"`)
	y.pushed(shop, PushSpec{})
	for name, part := range map[GroupName]string{"qa": "exists already", "shop": "that of an app", "api": "reserved", "A": "invalid"} {
		if changes, err := y.s.CreateGroup(name, ann); err == nil || changes != nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestQuota(t *testing.T) {
	y := people(t)
	team := AppRef{"shop-team", "shop"}
	gib := int64(1 << 30)
	sized := func(n int, memory int64) PushSpec {
		return PushSpec{Processes: map[ProcessName]ProcessSpec{Web: {Instances: &n, Memory: &memory}}}
	}
	y.do(y.s.SetQuota(Quota{Group: "shop-team", Memory: 8 * gib, Instances: 10, PublicHosts: 1}))
	y.pushed(AppRef{"shop-team", "blog"}, sized(1, 5*gib+gib/2))
	y.pushed(team, sized(1, gib))
	scale := func(n int) ([]Change, error) {
		changes, err := y.s.Scale(team.Release(0), map[ProcessName]ProcessSpec{Web: {Instances: &n}}, false)
		if err != nil {
			return nil, err
		}
		if err := y.s.CheckQuota(changes); err != nil {
			return nil, err
		}
		return changes, nil
	}
	changes, err := scale(6)
	y.refuses(changes, err, Conflict, "the quota of group shop-team: asked 6 × 1G of memory; 2.5G left of 8G")
	y.do(scale(2))
	// A push replaces what runs: it does not count twice.
	y.push(team, sized(2, gib), false)
	if used := y.s.UsedBy("shop-team"); used.Memory != 7*gib+gib/2 || used.Instances != 3 {
		t.Errorf("used %+v", used)
	}
	y.finishRollout(team)
	_, _, err = y.s.Push(Push{App: team, Spec: sized(3, gib), Stage: true, Built: Built{Image: Image{Digest: "sha256:1"}}}, ann)
	if CodeOf(err) != Conflict || !strings.Contains(err.Error(), "asked 3 × 1G of memory; 512M left of 8G") {
		t.Error(err)
	}
	if err := y.s.CheckPush(team, sized(30, gib), false); CodeOf(err) != Conflict {
		t.Errorf("before anything is sent: %v", err)
	}
	// A quota below what is used stops nothing, and less may be asked for.
	y.do(y.s.SetQuota(Quota{Group: "shop-team", Instances: 1}))
	y.do(scale(1))
	changes, err = scale(4)
	y.refuses(changes, err, Conflict, "asked 4 instances; 0 left of 1")
	y.do(y.s.SetQuota(Quota{Group: "shop-team", PublicHosts: 1}))
	mapped := func(h Host) ([]Change, error) {
		changes, err := y.s.Map(Map{Host: h, Path: "/", Public: true, Target: Target{ReleaseRef: team.Release(0)}}, ann)
		if err == nil {
			err = y.s.CheckQuota(changes)
		}
		if err != nil {
			return nil, err
		}
		return changes, nil
	}
	y.do(mapped("a.example.com"))
	changes, err = mapped("b.example.com")
	y.refuses(changes, err, Conflict, "asked 1 public host; 0 left of 1")
	y.do(y.s.SetQuota(Quota{Group: "shop-team"}))
	if _, ok := y.s.Quota("shop-team"); ok {
		t.Error("a quota without limits is kept")
	}
	y.do(mapped("b.example.com"))
}

// What the public reaches is for a releaser to replace; what is staged is for developers.
func TestDeployingWhatThePublicReaches(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	may := func(in Scope, want string) {
		t.Helper()
		in.Group, in.App = DefaultGroup, "shop"
		if got := may(y.s, MayDeploy, in); got != want {
			t.Errorf("%+v: %q, want %q", in, got, want)
		}
	}
	may(Scope{}, "developer releaser admin")
	y.do(y.s.Map(Map{Host: "www.example.com", Path: "/", Public: true, Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	may(Scope{}, "releaser admin")
	may(Scope{Release: 1}, "releaser admin")
	may(Scope{Release: 2}, "developer releaser admin")
	may(Scope{Staged: true}, "developer releaser admin")
	y.do(y.s.Promote(shop.Release(2), false, ann))
	may(Scope{Release: 2}, "releaser admin")
}
