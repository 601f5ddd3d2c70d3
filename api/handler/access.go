package handler

import (
	"context"
	"slices"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Passwords keeps passwords as hashes.
type Passwords interface {
	// Hash returns the hash of a new password; one that is too short is Invalid.
	Hash(password string) (string, error)
	// Verify reports, as an error of code Denied, a password that is not the user's.
	Verify(u *cloud.User, password string) error
}

func (h *Handler) serveAccess() {
	h.serveGroups()
	h.serveUsers()
	h.serveRoles()
}

func (h *Handler) serveGroups() {
	get(h, operation("groups", "GET /v1/groups", "List the groups that the caller has a role in"),
		func(ctx context.Context, in *Paging) (api.List[api.Group], error) {
			s, by := h.Store.State(), requestOf(ctx).actor
			visible := filter(s.Groups(), func(g *cloud.Group) bool { return s.May(by, cloud.MayRead, cloud.Scope{Group: g.Name}) == nil })
			return page(visible, *in, func(g *cloud.Group) string { return string(g.Name) }, func(g *cloud.Group) api.Group {
				out := api.Group{Name: g.Name, Created: g.Created, Role: s.RoleIn(by, g.Name)}
				for app := range s.Apps(g.Name) {
					if s.SeesApp(by, app.AppRef) {
						out.Apps++
					}
				}
				return out
			}), nil
		})
	get(h, operation("create-group", "POST /v1/groups", "Make a group"),
		func(ctx context.Context, in *struct{ Body api.NewGroup }) (api.Changed, error) {
			at, n := h.stamp(ctx), 0
			return h.update(ctx, "create", "group "+string(in.Body.Name), &n, func(s *cloud.State) ([]cloud.Change, error) {
				return s.CreateGroup(in.Body.Name, at)
			})
		})
	get(h, operation("delete-group", "DELETE /v1/groups/{group}", "Remove a group that owns nothing"),
		func(ctx context.Context, in *GroupInput) (api.Changed, error) {
			n := 0
			return h.update(ctx, "delete", "group "+string(in.Group), &n, func(s *cloud.State) ([]cloud.Change, error) {
				return s.DeleteGroup(in.Group)
			})
		})
	get(h, operation("quota", "GET /v1/groups/{group}/quota", "Show what a group may use, and what it uses"),
		func(ctx context.Context, in *GroupInput) (api.Quota, error) {
			s := h.view(ctx).State
			if err := mustGroup(s, in.Group); err != nil {
				return api.Quota{}, err
			}
			return quota(s, in.Group), nil
		})
	get(h, operation("set-quota", "POST /v1/groups/{group}/quota", "Change what a group may use"),
		func(ctx context.Context, in *struct {
			GroupInput
			Body api.QuotaChange
		}) (api.Quota, error) {
			n := 0
			_, err := h.update(ctx, "quota", "group "+string(in.Group), &n, func(s *cloud.State) ([]cloud.Change, error) {
				next := cloud.Quota{Group: in.Group}
				if was, ok := s.Quota(in.Group); ok {
					next = *was
				}
				for given, field := range map[*int]*int{in.Body.Instances: &next.Instances, in.Body.Services: &next.Services, in.Body.PublicHosts: &next.PublicHosts} {
					if given != nil {
						*field = *given
					}
				}
				if in.Body.Memory != nil {
					next.Memory = *in.Body.Memory
				}
				return s.SetQuota(next)
			})
			if err != nil {
				return api.Quota{}, err
			}
			return quota(h.Store.State(), in.Group), nil
		})
}

func quota(s *cloud.State, g cloud.GroupName) api.Quota {
	amount := func(q cloud.Quota) api.Amount {
		return api.Amount{Memory: q.Memory, Instances: q.Instances, Services: q.Services, PublicHosts: q.PublicHosts}
	}
	out := api.Quota{Group: g, Used: amount(s.UsedBy(g))}
	if q, ok := s.Quota(g); ok {
		out.Limit = amount(*q)
	}
	return out
}

// UserInput names a user.
type UserInput struct {
	User cloud.UserName `path:"user" maxLength:"64" doc:"Name of the user"`
}

func (h *Handler) serveUsers() {
	get(h, operation("users", "GET /v1/users", "List all users"),
		func(_ context.Context, in *Paging) (api.List[api.User], error) {
			return page(h.Store.State().Users(), *in, func(u *cloud.User) string { return string(u.Name) }, func(u *cloud.User) api.User {
				out := api.User{Name: u.Name, Created: u.Created, By: u.By, Password: u.Password != "", Disabled: u.Disabled}
				if u.Identity != nil {
					out.Provider = u.Identity.Issuer
				}
				return out
			}), nil
		})
	get(h, operation("create-user", "POST /v1/users", "Make a user, who has no role yet"),
		func(ctx context.Context, in *struct{ Body api.NewUser }) (api.Changed, error) {
			hash, err := h.hash(in.Body.Password)
			if err != nil {
				return api.Changed{}, err
			}
			at, n := h.stamp(ctx), 0
			return h.update(ctx, "create", "user "+string(in.Body.Name), &n, func(s *cloud.State) ([]cloud.Change, error) {
				return s.CreateUser(in.Body.Name, hash, nil, at)
			})
		})
	get(h, operation("delete-user", "DELETE /v1/users/{user}", "Remove a user with all roles and tokens"),
		func(ctx context.Context, in *UserInput) (api.Changed, error) {
			n := 0
			return h.update(ctx, "delete", "user "+string(in.User), &n, func(s *cloud.State) ([]cloud.Change, error) { return s.DeleteUser(in.User) })
		})
	get(h, operation("disable-user", "POST /v1/users/{user}/disabled", "Take all rights from a user, or give them back"),
		func(ctx context.Context, in *struct {
			UserInput
			Body struct {
				Disabled bool `json:"disabled"`
			}
		}) (api.Changed, error) {
			n, verb := 0, "enable"
			if in.Body.Disabled {
				verb = "disable"
			}
			return h.update(ctx, verb, "user "+string(in.User), &n, func(s *cloud.State) ([]cloud.Change, error) {
				return s.DisableUser(in.User, in.Body.Disabled)
			})
		})
	get(h, operation("set-password", "POST /v1/users/{user}/password", "Give a user another password, and end the user's log-ins"),
		func(ctx context.Context, in *struct {
			UserInput
			Body api.NewPassword
		}) (api.Changed, error) {
			if err := h.mayChangePassword(ctx, in.User, in.Body.Old); err != nil {
				return api.Changed{}, err
			}
			hash, err := h.Passwords.Hash(in.Body.New)
			if err != nil {
				return api.Changed{}, err
			}
			n := 0
			return h.update(ctx, "password", "user "+string(in.User), &n, func(s *cloud.State) ([]cloud.Change, error) { return s.SetPassword(in.User, hash) })
		})
}

// hash is that of a password, "" of none.
func (h *Handler) hash(password string) (string, error) {
	if password == "" {
		return "", nil
	}
	return h.Passwords.Hash(password)
}

// mayChangePassword lets an admin change any password, and a user who knows the present one the user's own.
func (h *Handler) mayChangePassword(ctx context.Context, name cloud.UserName, old string) error {
	s, by := h.Store.State(), requestOf(ctx).actor
	denied := s.May(by, cloud.MayAdminister, cloud.Scope{})
	if denied == nil || !slices.Contains(by.Subjects, name.Subject()) {
		return denied
	}
	user, err := s.MustUser(name)
	if err != nil {
		return err
	}
	if t, ok := s.Token(by.Token); ok && !t.Session {
		return cloud.Errorf(cloud.Denied, "a token cannot change passwords").WithCommand("micro login")
	}
	return h.Passwords.Verify(user, old)
}

type rolesInput struct {
	GroupInput
	Body api.RoleChange
}

func (h *Handler) serveRoles() {
	get(h, operation("roles", "GET /v1/roles", "List the caller's own roles, and those in groups that the caller is admin of"),
		func(ctx context.Context, in *Paging) (api.List[api.Role], error) {
			s, by := h.Store.State(), requestOf(ctx).actor
			visible := filter(s.Grants(), func(g *cloud.Grant) bool {
				return slices.Contains(by.Subjects, g.Subject) || s.May(by, cloud.MayAdminister, cloud.Scope{Group: g.Group}) == nil
			})
			return page(visible, *in, func(g *cloud.Grant) string { return string(g.Key()) }, func(g *cloud.Grant) api.Role {
				return api.Role{Subject: g.Subject.String(), Role: g.Role, Group: g.Group, By: g.By, Created: g.Created}
			}), nil
		})
	for _, r := range []struct{ id, path, summary, verb string }{
		{"grant-role", "", "Give a user or group a role", "grant"},
		{"revoke-role", "/revoke", "Take a role from a user or group", "revoke"},
	} {
		get(h, operation(r.id, "POST /v1/groups/{group}/roles"+r.path, r.summary+" in a group"),
			func(ctx context.Context, in *rolesInput) (api.Changed, error) {
				return h.changeRole(ctx, r.verb, in.Group, in.Body)
			})
		get(h, operation(r.id+"-cloud", "POST /v1/roles"+r.path, r.summary+" in the whole cloud"),
			func(ctx context.Context, in *struct{ Body api.RoleChange }) (api.Changed, error) {
				return h.changeRole(ctx, r.verb, "", in.Body)
			})
	}
	get(h, operation("whoami", "GET /v1/whoami", "Say who the caller is for the cloud"),
		func(ctx context.Context, _ *nothing) (api.Whoami, error) {
			s, by := h.Store.State(), requestOf(ctx).actor
			out := api.Whoami{Name: by.Name, Source: by.Source, Token: by.Token, Roles: []api.Role{}}
			add := func(g cloud.GroupName) {
				if role := s.RoleIn(by, g); role != cloud.RoleNone {
					out.Roles = append(out.Roles, api.Role{Subject: by.Name, Role: role, Group: g})
				}
			}
			add("")
			for g := range s.Groups() {
				if s.RoleIn(by, g.Name) != s.RoleIn(by, "") {
					add(g.Name)
				}
			}
			return out, nil
		})
}

func (h *Handler) changeRole(ctx context.Context, verb string, g cloud.GroupName, r api.RoleChange) (api.Changed, error) {
	subject, err := cloud.ParseSubject(r.Subject)
	if err != nil {
		return api.Changed{}, err
	}
	scope := "the cloud"
	if g != "" {
		scope = "group " + string(g)
	}
	by, at, n := requestOf(ctx).actor, h.stamp(ctx), 0
	return h.update(ctx, verb, string(r.Role)+" "+subject.String()+" "+scope, &n, func(s *cloud.State) ([]cloud.Change, error) {
		if verb == "grant" {
			return s.GrantRole(subject, r.Role, g, by, at)
		}
		return s.RevokeRole(subject, r.Role, g, by)
	})
}
