package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/protoduction/micro/cloud"
)

// Egress is what containers of a group, or of an app, may reach outside.
type Egress struct {
	Group   cloud.GroupName `json:"group"`
	App     cloud.AppName   `json:"app,omitempty"`
	Closed  bool            `json:"closed" doc:"Only what is allowed can be reached; else everything but metadata services"`
	Allowed []string        `json:"allowed" nullable:"false" doc:"Addresses, networks and names; *.example.com is every name below example.com"`
	Inherit bool            `json:"from_group,omitempty" doc:"The app goes by its group's policy"`
}

// EgressChange changes it.
type EgressChange struct {
	App    cloud.AppName `json:"app,omitempty" maxLength:"63" doc:"Missing: the group's policy, for all apps that have none of their own"`
	Open   bool          `json:"open,omitempty" doc:"Everything may be reached again; of an app, it goes by its group's policy"`
	Allow  []string      `json:"allow,omitempty" maxItems:"200" doc:"May be reached, and nothing else but what was allowed before"`
	Forbid []string      `json:"forbid,omitempty" maxItems:"200" doc:"May no longer be reached"`
}

// Egress shows what a group, or an app, may reach outside.
func (c *Client) Egress(ctx context.Context, g cloud.GroupName, app cloud.AppName) (Egress, error) {
	return call[Egress](ctx, c, http.MethodGet, groupPath(g, "egress"), url.Values(values{}.set("app", string(app))), nil)
}

// SetEgress changes it.
func (c *Client) SetEgress(ctx context.Context, g cloud.GroupName, e EgressChange) (Egress, error) {
	return call[Egress](ctx, c, http.MethodPost, groupPath(g, "egress"), nil, e)
}
