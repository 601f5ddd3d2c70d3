package cloud

import (
	"fmt"
	"slices"
)

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
	// Staged says that nothing but a release which is reached at its own address alone is made or changed.
	Staged bool
	// Unbound says that the release to be made is bound to no production service, although the one that it derives from is.
	Unbound bool
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
// staged releases alone, and what the public reaches is for a releaser to change. A group that the actor has
// no role in is NotFound: nobody learns which groups there are.
func (s *State) May(by Actor, p Permission, in Scope) error {
	least, why := s.leastRole(p, in)
	return s.may(by, p, in, least, why)
}

// MayAtLeast reports what May would in the most harmless scope that in may turn out to be, once more is known
// of a request.
func (s *State) MayAtLeast(by Actor, p Permission, in Scope) error {
	return s.may(by, p, in, p.LeastRole(), "")
}

func (s *State) may(by Actor, p Permission, in Scope, least Role, why string) error {
	role := s.RoleIn(by, in.Group)
	if in.Group != "" && ranks[role] == 0 {
		return noGroup(in.Group)
	}
	if err := s.mayByToken(by, p, in); err != nil {
		return err
	}
	if role.Allows(least) {
		return nil
	}
	return Errorf(Denied, "%s is not allowed to %s: it needs the role %s%s", by.Name, p.describe(in), least, why)
}

// MayAnywhere reports, as May does, that an actor has no role at all.
func (s *State) MayAnywhere(by Actor) error {
	if ranks[s.HighestRole(by)] > 0 {
		return nil
	}
	return Errorf(Denied, "%s has no role here", by.Name).WithHint("ask an admin: micro role grant developer %s", by.Name)
}

// leastRole is the role that a permission needs in a scope, and why where that is more than LeastRole.
func (s *State) leastRole(p Permission, in Scope) (least Role, why string) {
	if service, ok := s.touchesProduction(in); ok && (p == MayDeploy || service == in.App && (p == MayOperate || p == MayReadSecret)) {
		return RoleReleaser, ", as service " + string(service) + " is a production service"
	}
	switch {
	case p == MayOperate && in.App != "":
		if rel, ok := s.Release(ReleaseRef{AppRef{in.Group, in.App}, in.Release}); !ok || !s.staged(rel) {
			return RoleDeveloper, ", as it is not a staged release"
		}
	case p == MayDeploy && in.App != "" && !in.Staged && s.facesPublic(ReleaseRef{AppRef{in.Group, in.App}, in.Release}):
		return RoleReleaser, ", as a public host leads to it"
	case p == MayRoute && in.Host != "":
		if vhost, ok := s.VirtualHost(in.Host); ok && vhost.Exposure == ExposedPublic {
			return RoleReleaser, ", as the host is public"
		}
	}
	return p.LeastRole(), ""
}

// touchesProduction returns a production service whose data a scope gives access to: the scope's app is that service, or its
// release, or the one that a new release inherits from, is bound to it.
func (s *State) touchesProduction(in Scope) (AppName, bool) {
	app, ok := s.App(AppRef{in.Group, in.App})
	switch {
	case !ok || in.App == "":
		return "", false
	case app.Service != nil:
		return app.App, app.Service.Production
	case in.Unbound:
		return "", false
	}
	return s.BoundToProduction(app.Release(in.Release))
}

// staged says whether a release is reached at its own address alone, and is on its way nowhere else.
func (s *State) staged(r *Release) bool {
	app, ok := s.App(r.AppRef)
	return ok && r.Staged && app.Current != r.N && !app.switchesTo(r.N) && !s.routed(r.ReleaseRef)
}

// facesPublic reports whether a public host leads to a release, or is about to; with N 0, to any of the app's.
func (s *State) facesPublic(r ReleaseRef) bool {
	app, ok := s.App(r.AppRef)
	if !ok {
		return false
	}
	current := r.N == 0 || r.N == app.Current || app.switchesTo(r.N)
	for vhost := range s.HostsOf(r.AppRef) {
		if vhost.Exposure != ExposedPublic {
			continue
		}
		for _, route := range vhost.Routes {
			if route.routesTo(r) || current && route.routesTo(r.AppRef.Release(0)) || r.N == 0 && route.names(r.AppRef) {
				return true
			}
		}
	}
	return false
}

// names reports whether the route leads to any release of an app.
func (r Route) names(app AppRef) bool {
	return slices.ContainsFunc(r.Targets, func(t Target) bool { return t.AppRef == app }) ||
		slices.ContainsFunc(r.Rules, func(o Rule) bool { return o.To.AppRef == app }) ||
		r.Crossfade != nil && (r.Crossfade.To.AppRef == app || r.Crossfade.From.AppRef == app)
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
