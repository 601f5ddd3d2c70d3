package cloud

// Actor is who asks for a change or reads. The audit log keeps it.
type Actor struct {
	Name   string `json:"name"`             // a user's name; "micro" for the cloud itself
	Role   Role   `json:"role,omitempty"`   // by which the request was judged
	Source string `json:"source,omitempty"` // where the request came from: "socket uid=1000 pid=4711"
	// RequestID is found in the node's log too.
	RequestID string `json:"request,omitempty"`
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
	RoleAdmin     Role = "admin"     // the node itself
)

var ranks = map[Role]int{RoleNone: 0, RoleAuditor: 1, RoleTester: 2, RoleDeveloper: 3, RoleReleaser: 4, RoleAdmin: 5}

// Roles returns every role that may do something, the least first.
func Roles() []Role { return []Role{RoleAuditor, RoleTester, RoleDeveloper, RoleReleaser, RoleAdmin} }

// Allows reports whether the role is enough where least is needed. RoleNone, and a role that does not
// exist, are never enough.
func (r Role) Allows(least Role) bool { return ranks[r] >= ranks[least] && ranks[r] > 0 }
