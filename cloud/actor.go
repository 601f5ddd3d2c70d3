package cloud

// Actor is who asks for a change or reads. The audit log keeps it.
type Actor struct {
	Name   string `json:"name"`             // a user's name; "micro" for the cloud itself
	Role   Role   `json:"role,omitempty"`   // in the whole cloud, as the connection gives it; grants may add to it
	Source string `json:"source,omitempty"` // where the request came from: "socket uid=1000 pid=4711"
	// Token is the ID of the token that the caller showed. It may narrow what the caller is allowed to do.
	Token TokenID `json:"token,omitempty"`
	// RequestID is found in the node's log too.
	RequestID string `json:"request,omitempty"`
	// Subjects are the names under which the actor may have been granted roles.
	Subjects []Subject `json:"-"`
}

// Role says what an actor may do. Each role may do all that the roles before it may.
type Role string

// The roles, the least first.
const (
	RoleNone      Role = ""
	RoleAuditor   Role = "auditor"   // reads, never secrets
	RoleTester    Role = "tester"    // scale, logs, exec of staged releases
	RoleDeveloper Role = "developer" // push, environment, internal routes
	RoleReleaser  Role = "releaser"  // public hosts
	RoleAdmin     Role = "admin"     // people and quotas; in the whole cloud also the nodes
)

var ranks = map[Role]int{RoleNone: 0, RoleAuditor: 1, RoleTester: 2, RoleDeveloper: 3, RoleReleaser: 4, RoleAdmin: 5}

// Roles returns every role that may do something, the least first.
func Roles() []Role { return []Role{RoleAuditor, RoleTester, RoleDeveloper, RoleReleaser, RoleAdmin} }

// Allows reports whether the role is enough where least is needed. RoleNone, and a role that does not
// exist, are never enough.
func (r Role) Allows(least Role) bool { return ranks[r] >= ranks[least] && ranks[r] > 0 }

// Validate reports a role that does not exist.
func (r Role) Validate() error {
	if ranks[r] > 0 {
		return nil
	}
	return Errorf(Invalid, "unknown role %q", string(r)).WithHint("the roles are auditor, tester, developer, releaser and admin")
}

// higher and lower return one of two roles; a role that does not exist is none.
func higher(a, b Role) Role {
	if ranks[b] > ranks[a] {
		return b
	}
	return a
}

func lower(a, b Role) Role {
	if ranks[b] < ranks[a] {
		return b
	}
	return a
}

// RoleIn returns the actor's role in a group, or in the whole cloud for "". It is looked up in the State
// anew for each request, so that a revoked role is gone at once.
func (s *State) RoleIn(by Actor, g GroupName) Role {
	role := RoleNone
	if ranks[by.Role] > 0 {
		role = by.Role
	}
	for _, subject := range by.Subjects {
		if !s.active(subject) {
			continue
		}
		for _, scope := range []GroupName{"", g} {
			if grant, ok := s.Grant(subject, scope); ok {
				role = higher(role, grant.Role)
			}
		}
	}
	return s.limitRole(by, g, role)
}

// HighestRole returns the highest role that the actor has anywhere, RoleNone for a stranger.
func (s *State) HighestRole(by Actor) Role {
	role := s.RoleIn(by, "")
	for _, subject := range by.Subjects {
		for grant := range s.GrantsOf(subject) {
			role = higher(role, s.RoleIn(by, grant.Group))
		}
	}
	for _, g := range s.tokenGroups(by) {
		role = higher(role, s.RoleIn(by, g))
	}
	return role
}

// active reports whether grants to a subject count: a user must exist and not be disabled.
func (s *State) active(subject Subject) bool {
	name, isUser := subject.User()
	if !isUser {
		return true
	}
	user, ok := s.User(name)
	return ok && !user.Disabled
}
