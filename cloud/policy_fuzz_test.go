package cloud

import (
	"testing"
	"time"
)

// FuzzMay asks the policy for whatever a caller, a permission and a scope may be: a higher role is never allowed less,
// a token never more than its owner, and nobody anything in a group without a role there.
func FuzzMay(f *testing.F) {
	f.Add(uint8(2), uint8(3), "default", "shop", 2, "www.example.com", true, uint8(1), "default", "shop")
	f.Add(uint8(5), uint8(6), "", "", 0, "", false, uint8(0), "", "")
	f.Add(uint8(4), uint8(4), "qa", "blog", -1, "*.example.com", false, uint8(5), "qa", "")
	s := policyState(f)
	f.Fuzz(func(t *testing.T, role, permission uint8, group, app string, release int, host string, staged bool, limit uint8, onlyGroup, onlyApp string) {
		roles := append([]Role{RoleNone}, Roles()...)
		p := Permissions()[int(permission)%len(Permissions())]
		in := Scope{Group: GroupName(group), App: AppName(app), Release: release, Host: Host(host), Staged: staged}
		may := func(s *State, by Actor) bool { return s.May(by, p, in) == nil }
		owner := Actor{Name: "x", Role: roles[int(role)%len(roles)]}
		allowed := may(s, owner)
		for _, higher := range roles[int(role)%len(roles):] {
			if allowed && !may(s, Actor{Name: "x", Role: higher}) {
				t.Errorf("%s may %s %+v, and %s may not", owner.Role, p, in, higher)
			}
		}
		if may(s, Actor{Name: "nobody"}) || may(s, Actor{Name: "x", Role: "root"}) {
			t.Errorf("nobody may %s %+v", p, in)
		}
		token := &Token{ID: "tok", Owner: "anna", Expires: noon.Add(time.Hour), TokenLimits: TokenLimits{Role: roles[int(limit)%len(roles)]}}
		if onlyGroup != "" {
			token.Groups = []GroupName{GroupName(onlyGroup)}
		}
		if onlyApp != "" {
			token.Apps = []AppRef{{GroupName(onlyGroup), AppName(onlyApp)}}
		}
		anna := Actor{Name: "anna", Subjects: []Subject{"user:anna"}}
		shown := anna
		shown.Token = "tok"
		with := s.Apply(s.Rev()+1, []Change{Put(token)})
		if may(with, shown) && !may(with, anna) {
			t.Errorf("a token %+v may %s %+v, and its owner may not", token.TokenLimits, p, in)
		}
		if may(s, shown) {
			t.Errorf("a token that is gone may %s %+v", p, in)
		}
	})
}

// policyState is a cloud with a staged release, a public host, and anna, who is developer in one group.
func policyState(f *testing.F) *State {
	s := NewState()
	s = s.Apply(1, append(s.Init(ann), Put(&Group{Name: "qa", Created: noon, Number: 1}), Put(&Settings{Domain: "micro.test"}),
		Put(&User{Name: "anna"}), Put(&Grant{Subject: "user:anna", Role: RoleDeveloper, Group: DefaultGroup})))
	for n := 1; n <= 2; n++ {
		changes, _, err := s.Push(Push{App: shop, Stage: n == 2, Spec: PushSpec{Processes: map[ProcessName]ProcessSpec{Web: {}}}, Built: Built{Image: Image{Digest: "sha256:1", Name: "one"}}}, ann)
		if err != nil {
			f.Fatal(err)
		}
		s = s.Apply(s.Rev()+1, changes)
	}
	s = s.Apply(s.Rev()+1, s.FinishRollout(shop, noon, ann))
	changes, err := s.Map(Map{Host: "www.example.com", Path: "/", Public: true, Target: Target{ReleaseRef: shop.Release(0)}}, ann)
	if err != nil {
		f.Fatal(err)
	}
	return s.Apply(s.Rev()+1, changes)
}
