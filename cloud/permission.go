package cloud

import "fmt"

// Permission is a kind of thing that an actor may do.
type Permission string

// The permissions. Each is needed in a Scope, and what is in the scope may ask for a higher role.
const (
	MayRead       Permission = "read"       // see what there is, never secrets
	MayReadSecret Permission = "readsecret" // see values of the environment
	MayOperate    Permission = "operate"    // scale, restart, read logs, run commands
	MayDeploy     Permission = "deploy"     // push, set the environment, start, stop, promote, delete
	MayRoute      Permission = "route"      // change what a host routes to
	MayExpose     Permission = "expose"     // let the public reach a host
	MayAdminister Permission = "administer" // the nodes, the people
)

// leastRoles has, by permission, the role that is needed at least.
var leastRoles = map[Permission]Role{
	MayRead: RoleAuditor, MayReadSecret: RoleDeveloper, MayOperate: RoleTester, MayDeploy: RoleDeveloper,
	MayRoute: RoleDeveloper, MayExpose: RoleReleaser, MayAdminister: RoleAdmin,
}

// Permissions returns every permission.
func Permissions() []Permission {
	return []Permission{MayRead, MayReadSecret, MayOperate, MayDeploy, MayRoute, MayExpose, MayAdminister}
}

// LeastRole is the role that the permission needs at least, whatever the scope.
func (p Permission) LeastRole() Role {
	if least, ok := leastRoles[p]; ok {
		return least
	}
	return RoleAdmin // fail closed
}

// Scope is what a permission is asked for. The zero Scope is the cloud as a whole; the more of it is set,
// the narrower it is.
type Scope struct {
	Group GroupName
	App   AppName
	// Release is a release's number; 0 with an App is the app and whatever release is current.
	Release int
	// Host is a mapped host, or one to be mapped.
	Host Host
}

// String names the narrowest part of the scope.
func (c Scope) String() string {
	switch {
	case c.Host != "":
		return "host " + string(c.Host)
	case c.App != "":
		return ReleaseRef{AppRef{c.Group, c.App}, c.Release}.String()
	case c.Group != "":
		return "group " + string(c.Group)
	}
	return "the cloud"
}

// May reports, as an error of code Denied, that an actor has no role that is enough for a permission in a
// scope. What serves the public, or a group's people, needs more than what is staged: a tester may operate
// staged releases alone, and where a public host leads is for a releaser to change.
func (s *State) May(by Actor, p Permission, in Scope) error {
	least, why := s.leastRole(p, in)
	if by.Role.Allows(least) {
		return nil
	}
	return Errorf(Denied, "%s is not allowed to %s: it needs the role %s%s", by.Name, p.describe(in), least, why)
}

// leastRole is the role that a permission needs in a scope, and why where that is more than LeastRole.
func (s *State) leastRole(p Permission, in Scope) (least Role, why string) {
	switch {
	case p == MayOperate && in.App != "":
		if rel, ok := s.Release(ReleaseRef{AppRef{in.Group, in.App}, in.Release}); !ok || !s.staged(rel) {
			return RoleDeveloper, ", as it is not a staged release"
		}
	case p == MayRoute && in.Host != "":
		if vhost, ok := s.VirtualHost(in.Host); ok && vhost.Exposure == ExposedPublic {
			return RoleReleaser, ", as the host is public"
		}
	}
	return p.LeastRole(), ""
}

// staged says whether a release is reached at its own address alone, and is on its way nowhere else.
func (s *State) staged(r *Release) bool {
	app, ok := s.App(r.AppRef)
	return ok && r.Staged && app.Current != r.N && !app.switchesTo(r.N) && !s.routed(r.ReleaseRef)
}

func (p Permission) describe(in Scope) string {
	switch p {
	case MayRead:
		return fmt.Sprintf("read %s", in)
	case MayReadSecret:
		return fmt.Sprintf("read secrets of %s", in)
	case MayOperate:
		return fmt.Sprintf("operate %s", in)
	case MayDeploy:
		return fmt.Sprintf("deploy %s", in)
	case MayRoute:
		return fmt.Sprintf("route %s", in)
	case MayExpose:
		return fmt.Sprintf("expose %s to the public", in)
	case MayAdminister:
		return fmt.Sprintf("administer %s", in)
	}
	return fmt.Sprintf("%s %s", p, in)
}
