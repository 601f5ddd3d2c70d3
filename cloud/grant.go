package cloud

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// Grant gives a subject a role in a group, or in the whole cloud where Group is "".
type Grant struct {
	Subject Subject   `json:"subject"`
	Group   GroupName `json:"group,omitempty"`
	Role    Role      `json:"role"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
}

// Key is "grants/SUBJECT/GROUP", with "*" for the whole cloud.
func (g *Grant) Key() Key { return grantKey(g.Subject, g.Group) }

func (g *Grant) touch(*touched)    {}
func (g *Grant) indexes() []string { return nil }

func grantKey(c Subject, g GroupName) Key {
	return Key("grants/" + c.key() + "/" + cmp.Or(string(g), "*"))
}

// Grant returns what a subject was granted in a group, or in the whole cloud for "".
func (s *State) Grant(c Subject, g GroupName) (*Grant, bool) { return get[*Grant](s, grantKey(c, g)) }

// GrantsOf yields what a subject was granted, by group.
func (s *State) GrantsOf(c Subject) iter.Seq[*Grant] { return all[*Grant](s, "grants/"+c.key()+"/") }

// Grants yields all grants by subject and group.
func (s *State) Grants() iter.Seq[*Grant] { return all[*Grant](s, "grants/") }

// scopeOf names where a grant holds.
func scopeOf(g GroupName) string {
	if g == "" {
		return "the cloud"
	}
	return "group " + string(g)
}

// GrantRole returns the changes that give a subject a role in a group, or in the whole cloud for "". It
// takes the place of the role that the subject has there. Nobody grants more than they have, nor to themselves.
func (s *State) GrantRole(c Subject, r Role, g GroupName, by Actor, at Stamp) ([]Change, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := s.mayGrant(c, r, g, by); err != nil {
		return nil, err
	}
	if name, ok := c.User(); ok {
		if _, err := s.MustUser(name); err != nil {
			return nil, err
		}
	}
	was, ok := s.Grant(c, g)
	if ok && was.Role == r {
		return nil, nil
	}
	if ok {
		if err := s.staysAdmin(was); err != nil {
			return nil, err
		}
	}
	return []Change{Put(&Grant{Subject: c, Group: g, Role: r, Created: at.At, By: at.By})}, nil
}

// RevokeRole returns the changes that take a role from a subject.
func (s *State) RevokeRole(c Subject, r Role, g GroupName, by Actor) ([]Change, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := s.mayGrant(c, r, g, by); err != nil {
		return nil, err
	}
	was, ok := s.Grant(c, g)
	if !ok || was.Role != r {
		return nil, Errorf(NotFound, "%s does not have the role %s in %s", c, r, scopeOf(g)).WithCommand("micro role list")
	}
	if err := s.staysAdmin(was); err != nil {
		return nil, err
	}
	return []Change{Delete(was)}, nil
}

func (s *State) mayGrant(c Subject, r Role, g GroupName, by Actor) error {
	if err := s.May(by, MayAdminister, Scope{Group: g}); err != nil {
		return err
	}
	if g != "" {
		if _, err := s.MustGroup(g); err != nil {
			return err
		}
	}
	if slices.Contains(by.Subjects, c) {
		return Errorf(Denied, "%s is not allowed to change their own roles", by.Name).WithHint("ask another admin")
	}
	if has := s.RoleIn(by, g); !has.Allows(r) {
		return Errorf(Denied, "%s has the role %s in %s, and nobody grants more than they have", by.Name, has, scopeOf(g))
	}
	return nil
}

// staysAdmin reports that without a grant the cloud would have no admin.
func (s *State) staysAdmin(g *Grant) error {
	name, isUser := g.Subject.User()
	if isUser && g.Group == "" && g.Role == RoleAdmin && s.lastAdmin(name) {
		return lastAdmin(name)
	}
	return nil
}
