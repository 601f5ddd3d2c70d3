package cloud

import (
	"net/netip"
	"slices"
	"strings"
)

// Egress closes the way out of a group's containers, or of one app's, but for what is allowed. Where there is none,
// containers reach everything outside but metadata services.
type Egress struct {
	Group GroupName `json:"group"`
	App   AppName   `json:"app,omitempty"` // "": all apps of the group that have none of their own
	// Allowed are addresses, networks ("192.0.2.0/24") and names ("api.example.com", "*.example.com"), sorted.
	Allowed []string `json:"allowed"`
}

// Key is "egress/GROUP/APP", "egress/GROUP/" for the whole group.
func (e *Egress) Key() Key { return egressKey(e.Group, e.App) }

func (e *Egress) touch(*touched)    {}
func (e *Egress) indexes() []string { return nil }

func egressKey(g GroupName, app AppName) Key { return Key("egress/" + string(g) + "/" + string(app)) }

// maxAllowed is how many destinations a policy may allow.
const maxAllowed = 200

// Egress returns the policy of a group, or of an app; ok is false where the way out is open, or the app goes by its
// group's.
func (s *State) Egress(g GroupName, app AppName) (*Egress, bool) {
	return get[*Egress](s, egressKey(g, app))
}

// EgressOf returns the policy that an app goes by: its own, else its group's.
func (s *State) EgressOf(r AppRef) (*Egress, bool) {
	if e, ok := s.Egress(r.Group, r.App); ok {
		return e, true
	}
	return s.Egress(r.Group, "")
}

// Egresses yields all policies, those of groups before those of their apps.
func (s *State) Egresses() func(yield func(*Egress) bool) { return all[*Egress](s, "egress/") }

// EgressChange closes or opens the way out.
type EgressChange struct {
	Open   bool     // there is no policy any more
	Allow  []string // added; a policy is made where there is none
	Forbid []string // no longer allowed
}

// SetEgress returns the changes that change the policy of a group, or of an app.
func (s *State) SetEgress(g GroupName, app AppName, c EgressChange) ([]Change, error) {
	if _, err := s.MustGroup(g); err != nil {
		return nil, err
	}
	if app != "" {
		if _, err := s.MustApp(AppRef{g, app}); err != nil {
			return nil, err
		}
	}
	was, ok := s.Egress(g, app)
	if c.Open {
		if !ok {
			return nil, nil
		}
		return []Change{Delete(was)}, nil
	}
	next := Egress{Group: g, App: app, Allowed: []string{}}
	if ok {
		next.Allowed = slices.Clone(was.Allowed)
	}
	for _, list := range []struct {
		texts []string
		add   bool
	}{{c.Allow, true}, {c.Forbid, false}} {
		for _, text := range list.texts {
			to, err := ParseDestination(text)
			if err != nil {
				return nil, err
			}
			next.Allowed = slices.DeleteFunc(next.Allowed, func(o string) bool { return o == to })
			if list.add {
				next.Allowed = append(next.Allowed, to)
			}
		}
	}
	slices.Sort(next.Allowed)
	switch {
	case len(next.Allowed) > maxAllowed:
		return nil, Errorf(Invalid, "a policy allows at most %d destinations", maxAllowed).WithCommand("micro egress %s", AppRef{g, app})
	case ok && slices.Equal(was.Allowed, next.Allowed):
		return nil, nil
	}
	return []Change{Put(&next)}, nil
}

// ParseDestination reads an address, a network or a name outside, and returns it as a policy keeps it. "*.example.com"
// stands for every name below example.com.
func ParseDestination(text string) (string, error) {
	bad := func() (string, error) {
		return "", Errorf(Invalid, "%q is not an IPv4 address, a network or a name", text).WithHint("for example 192.0.2.7, 192.0.2.0/24, api.example.com or *.example.com")
	}
	if a, err := netip.ParseAddr(text); err == nil {
		if !a.Is4() {
			return bad()
		}
		return a.String(), nil
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		if !p.Addr().Is4() {
			return bad()
		}
		return p.Masked().String(), nil
	}
	h, err := ParseHost(text)
	if err != nil || strings.ContainsAny(text, "/:") || !strings.Contains(string(h), ".") {
		return bad()
	}
	return string(h), nil
}

// Networks returns the addresses and networks that a policy allows.
func (e *Egress) Networks() (networks []netip.Prefix) {
	for _, text := range e.Allowed {
		if a, err := netip.ParseAddr(text); err == nil {
			networks = append(networks, netip.PrefixFrom(a, a.BitLen()))
		} else if p, err := netip.ParsePrefix(text); err == nil {
			networks = append(networks, p)
		}
	}
	return networks
}

// Names returns the names that a policy allows.
func (e *Egress) Names() (names []string) {
	for _, text := range e.Allowed {
		_, notAddr := netip.ParseAddr(text)
		_, notPrefix := netip.ParsePrefix(text)
		if notAddr != nil && notPrefix != nil {
			names = append(names, text)
		}
	}
	return names
}

// forgetEgress returns the changes that drop the policies of an app, or of a group with all of its apps for "".
func (s *State) forgetEgress(g GroupName, app AppName) (changes []Change) {
	for e := range s.Egresses() {
		if e.Group == g && (app == "" || e.App == app) {
			changes = append(changes, Delete(e))
		}
	}
	return changes
}
