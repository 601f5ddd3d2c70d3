package cloud

// HostLogin has a host answer only to people who have logged in. It belongs to the host, as its exposure does: no
// path of it and no swap gets round it.
type HostLogin struct {
	// Group is the group in which a person needs a role, whichever.
	Group GroupName `json:"group"`
}

// HostLoginChange changes who must log in; a nil Required leaves it as it is.
type HostLoginChange struct {
	Required *bool
	Group    GroupName // "": as it is, or the host's own
}

// changeLogin returns what a host's log-in is after a change, nil for none.
func (s *State) changeLogin(h *VirtualHost, c HostLoginChange) (*HostLogin, error) {
	switch {
	case c.Required != nil && !*c.Required:
		if c.Group != "" {
			return nil, Errorf(Invalid, "group %s is named, and no log-in is required", c.Group).WithCommand("micro map APP %s --require-login --login-group %s", h.Host, c.Group)
		}
		return nil, nil
	case c.Required == nil && h.Login == nil:
		if c.Group != "" {
			return nil, Errorf(Invalid, "host %s requires no log-in", h.Host).WithCommand("micro map APP %s --require-login --login-group %s", h.Host, c.Group)
		}
		return nil, nil
	}
	next := HostLogin{Group: h.Group}
	if h.Login != nil {
		next = *h.Login
	}
	if c.Group != "" {
		next.Group = c.Group
	}
	if _, err := s.MustGroup(next.Group); err != nil {
		return nil, err
	}
	return &next, nil
}

// Visits reports whether a person may see a host that requires a log-in: an active user with a role in its group.
// groups are what the person's provider has named.
func (s *State) Visits(name UserName, groups []Subject, l *HostLogin) bool {
	u, ok := s.User(name)
	if !ok || u.Disabled {
		return false
	}
	return ranks[s.RoleIn(Actor{Subjects: append([]Subject{name.Subject()}, groups...)}, l.Group)] > 0
}
