package cloud

import (
	"crypto/x509"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Provider is the OpenID Connect provider by which people log in. A cloud has one at most.
type Provider struct {
	Issuer   string `json:"issuer"` // its URL
	ClientID string `json:"client_id"`
	// Secret is the client's secret, sealed; "" for a public client.
	Secret Sealed `json:"client_secret,omitempty"`
	// Scopes are asked for beside openid, which always is.
	Scopes []string `json:"scopes,omitempty"`
	// NameClaim and GroupsClaim are the claims that have a person's user name and groups.
	NameClaim   string `json:"name_claim"`
	GroupsClaim string `json:"groups_claim"`
	// CA has the authorities, in PEM, that vouch for the provider; "" for those of the system.
	CA      string    `json:"ca,omitempty"`
	Changed time.Time `json:"changed"`
	By      string    `json:"by"`
}

const providerKey Key = "providers/oidc"

// Key is "providers/oidc": there is one such object.
func (p *Provider) Key() Key { return providerKey }

func (p *Provider) touch(*touched)    {}
func (p *Provider) indexes() []string { return nil }

// Provider returns the provider by which people log in; ok is false where there is none.
func (s *State) Provider() (*Provider, bool) { return get[*Provider](s, providerKey) }

// MustProvider returns the provider, or an error that a person can use.
func (s *State) MustProvider() (*Provider, error) {
	if p, ok := s.Provider(); ok {
		return p, nil
	}
	return nil, Errorf(Conflict, "this cloud has no OpenID Connect provider").WithHint("micro login USER logs in by password; an admin sets a provider: micro oidc set")
}

// SetProvider returns the changes that have people log in by a provider, in place of the one before.
func (s *State) SetProvider(p Provider, at Stamp) ([]Change, error) {
	u, err := url.Parse(p.Issuer)
	hint := "micro oidc set https://id.example.com --client-id micro --client-secret-stdin"
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http":
		return nil, Errorf(Invalid, "%q is not the URL of a provider", p.Issuer).WithCommand("%s", hint)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, Errorf(Invalid, "%s is asked without TLS, and is not on this machine", p.Issuer).WithCommand("%s", hint)
	case p.ClientID == "" || len(p.ClientID) > 500:
		return nil, Errorf(Invalid, "the provider knows micro by a client ID").WithCommand("%s", hint)
	case p.NameClaim == "" || p.GroupsClaim == "" || len(p.Scopes) > 20:
		return nil, Errorf(Invalid, "a claim has no name, or there are more than 20 scopes").WithCommand("%s", hint)
	case slices.ContainsFunc(p.Scopes, func(scope string) bool { return scope == "" || strings.ContainsAny(scope, " \"\\\t\r\n") }):
		return nil, Errorf(Invalid, "a scope is empty or has a space").WithCommand("%s", hint)
	}
	if p.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(p.CA)) {
		return nil, Errorf(Invalid, "there is no certificate in PEM among the provider's authorities").WithCommand("%s", hint)
	}
	p.Changed, p.By = at.At, at.By
	changes := []Change{Put(&p)}
	if was, ok := s.Provider(); ok && was.Issuer != p.Issuer {
		changes = append(changes, s.endProvided()...)
	}
	return changes, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// DeleteProvider returns the changes that end log-ins by the provider.
func (s *State) DeleteProvider() ([]Change, error) {
	p, ok := s.Provider()
	if !ok {
		return nil, nil
	}
	return append([]Change{Delete(p)}, s.endProvided()...), nil
}

// endProvided returns the changes that end the log-ins that a provider vouched for.
func (s *State) endProvided() (changes []Change) {
	for t := range s.Tokens() {
		if u, ok := s.User(t.Owner); ok && t.Session && u.Identity != nil {
			changes = append(changes, Delete(t))
		}
	}
	return changes
}

// Admit returns the user whom a provider knows as i, and the changes that make or link one where nobody is known so:
// a person whose groups have a role here becomes a user, and one whom an admin has made without a password is linked.
// A user with a password is nobody else's, whatever name a provider gives a person.
func (s *State) Admit(name UserName, i Identity, groups []Subject, at Stamp) (*User, []Change, error) {
	if u, ok := s.UserOf(i); ok {
		if u.Disabled {
			return nil, nil, Errorf(Unauthenticated, "user %s is disabled", u.Name).WithHint("ask an admin")
		}
		return u, nil, nil
	}
	if err := name.Validate(); err != nil {
		return nil, nil, Errorf(Denied, "the provider gives the name %q, which no user can have", string(name)).WithHint("an admin chooses another claim: micro oidc set --name-claim")
	}
	switch u, ok := s.User(name); {
	case ok && (u.Password != "" || u.Identity != nil || u.Disabled):
		return nil, nil, Errorf(Denied, "user %s is somebody else here", name).WithHint("ask an admin")
	case ok:
		next := *u
		next.Identity = &i
		return &next, []Change{Put(&next)}, nil
	case ranks[s.HighestRole(Actor{Subjects: groups})] == 0:
		return nil, nil, Errorf(Denied, "%s has no role here", name).WithHint("ask an admin: micro role grant developer oidc:GROUP, or micro user create %s --no-password", name)
	}
	changes, err := s.CreateUser(name, "", &i, at)
	if err != nil {
		return nil, nil, err
	}
	return changes[0].Object.(*User), changes, nil
}
