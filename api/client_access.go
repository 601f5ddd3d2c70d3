package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/protoduction/micro/cloud"
)

// Groups lists the groups that the caller has a role in.
func (c *Client) Groups(ctx context.Context) ([]Group, error) {
	return all[Group](ctx, c, "/v1/groups", nil)
}

// CreateGroup makes a group.
func (c *Client) CreateGroup(ctx context.Context, g cloud.GroupName) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, "/v1/groups", nil, NewGroup{g})
}

// DeleteGroup removes a group that owns nothing.
func (c *Client) DeleteGroup(ctx context.Context, g cloud.GroupName) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, "/v1/groups/"+url.PathEscape(string(g)), nil, nil)
}

// Quota shows what a group may use, and what it uses.
func (c *Client) Quota(ctx context.Context, g cloud.GroupName) (Quota, error) {
	return call[Quota](ctx, c, http.MethodGet, groupPath(g, "quota"), nil, nil)
}

// SetQuota changes what a group may use.
func (c *Client) SetQuota(ctx context.Context, g cloud.GroupName, q QuotaChange) (Quota, error) {
	return call[Quota](ctx, c, http.MethodPost, groupPath(g, "quota"), nil, q)
}

// Users lists all users.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	return all[User](ctx, c, "/v1/users", nil)
}

// CreateUser makes a user.
func (c *Client) CreateUser(ctx context.Context, u NewUser) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, "/v1/users", nil, u)
}

func userPath(n cloud.UserName, rest string) string {
	return "/v1/users/" + url.PathEscape(string(n)) + rest
}

// DeleteUser removes a user with all roles and tokens.
func (c *Client) DeleteUser(ctx context.Context, n cloud.UserName) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, userPath(n, ""), nil, nil)
}

// DisableUser takes all rights from a user, or gives them back.
func (c *Client) DisableUser(ctx context.Context, n cloud.UserName, disabled bool) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, userPath(n, "/disabled"), nil, map[string]bool{"disabled": disabled})
}

// SetPassword gives a user another password, and ends the user's log-ins.
func (c *Client) SetPassword(ctx context.Context, n cloud.UserName, p NewPassword) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, userPath(n, "/password"), nil, p)
}

// Roles lists the roles that the caller may know of.
func (c *Client) Roles(ctx context.Context) ([]Role, error) {
	return all[Role](ctx, c, "/v1/roles", nil)
}

func rolesPath(g cloud.GroupName) string {
	if g == "" {
		return "/v1/roles"
	}
	return groupPath(g, "roles")
}

// GrantRole gives a user or group a role in a group, or in the whole cloud for "".
func (c *Client) GrantRole(ctx context.Context, g cloud.GroupName, r RoleChange) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, rolesPath(g), nil, r)
}

// RevokeRole takes a role away again.
func (c *Client) RevokeRole(ctx context.Context, g cloud.GroupName, r RoleChange) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, rolesPath(g)+"/revoke", nil, r)
}

// Whoami says who the caller is for the cloud.
func (c *Client) Whoami(ctx context.Context) (Whoami, error) {
	return call[Whoami](ctx, c, http.MethodGet, "/v1/whoami", nil, nil)
}
