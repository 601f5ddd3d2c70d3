package cloud

import "testing"

func TestSetProvider(t *testing.T) {
	y := begin(t)
	good := Provider{Issuer: "https://id.example.com", ClientID: "micro", NameClaim: "preferred_username", GroupsClaim: "groups"}
	with := func(change func(*Provider)) ([]Change, error) {
		p := good
		change(&p)
		return y.s.SetProvider(p, ann)
	}
	for name, change := range map[string]func(*Provider){
		"no URL":          func(p *Provider) { p.Issuer = "id.example.com" },
		"another scheme":  func(p *Provider) { p.Issuer = "ftp://id.example.com" },
		"without TLS":     func(p *Provider) { p.Issuer = "http://id.example.com" },
		"a password":      func(p *Provider) { p.Issuer = "https://a:b@id.example.com" },
		"a query":         func(p *Provider) { p.Issuer = "https://id.example.com?a" },
		"no client":       func(p *Provider) { p.ClientID = "" },
		"no claim":        func(p *Provider) { p.GroupsClaim = "" },
		"a scope's space": func(p *Provider) { p.Scopes = []string{"a b"} },
		"no certificate":  func(p *Provider) { p.CA = "hello" },
	} {
		if changes, err := with(change); CodeOf(err) != Invalid || changes != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	y.do(with(func(p *Provider) { p.Issuer = "http://127.0.0.1:5556/dex" }))
	y.do(with(func(*Provider) {}))
}

// A person is admitted by what the provider's own ID says, and takes over nobody.
func TestAdmit(t *testing.T) {
	y := begin(t)
	root := Actor{Name: "root", Role: RoleAdmin}
	y.do(y.s.CreateUser("local", "hash", nil, ann))
	y.do(y.s.CreateUser("made", "", nil, ann))
	y.do(y.s.GrantRole("oidc:qa", RoleTester, "qa", root, ann))
	qa := []Subject{"oidc:qa"}
	id := func(subject string) Identity { return Identity{"https://id.example.com", subject} }
	for name, c := range map[string]struct {
		user   UserName
		groups []Subject
	}{
		"no role": {"bob", nil}, "another's name": {"local", qa}, "no user's name": {"Bob Smith", qa}, "a reserved name": {"root", qa}, "none": {"", qa},
	} {
		if _, changes, err := y.s.Admit(c.user, id("x"), c.groups, ann); CodeOf(err) != Denied || changes != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	admit := func(user UserName, subject string, groups []Subject, want UserName) {
		t.Helper()
		u, changes, err := y.s.Admit(user, id(subject), groups, ann)
		if err != nil || u.Name != want {
			t.Fatalf("%s: %+v, %v", user, u, err)
		}
		y.do(changes, nil)
	}
	admit("anna", "1", qa, "anna")
	admit("renamed", "1", nil, "anna")
	admit("made", "2", nil, "made")
	if _, _, err := y.s.Admit("made", id("3"), qa, ann); CodeOf(err) != Denied {
		t.Errorf("a linked user is taken over: %v", err)
	}
	if _, _, err := y.s.Admit("anna", Identity{"https://other.example.com", "1"}, qa, ann); CodeOf(err) != Denied {
		t.Errorf("the same ID of another provider: %v", err)
	}
	y.do(y.s.DisableUser("anna", true))
	if _, _, err := y.s.Admit("anna", id("1"), qa, ann); CodeOf(err) != Unauthenticated {
		t.Errorf("a disabled user: %v", err)
	}
}
