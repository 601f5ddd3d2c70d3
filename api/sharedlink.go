package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/protoduction/micro/cloud"
)

// SharedLink opens a release for whoever has its address, until it expires or is revoked.
type SharedLink struct {
	ID      cloud.LinkID    `json:"id"`
	Group   cloud.GroupName `json:"group"`
	App     cloud.AppName   `json:"app"`
	Release int             `json:"release,omitempty" doc:"Missing: whatever is current"`
	Host    cloud.Host      `json:"host" doc:"The host that the link opens the release at"`
	Created time.Time       `json:"created"`
	By      string          `json:"by"`
	Expires time.Time       `json:"expires"`
	Expired bool            `json:"expired,omitempty"`
	// URL is in the answer that made the link alone.
	URL string `json:"url,omitempty" doc:"The link itself, shown only to who made it"`
}

// Sharing makes a link.
type Sharing struct {
	Release int            `json:"release,omitempty" minimum:"0" doc:"Missing: whatever is current"`
	For     cloud.Duration `json:"for" doc:"How long the link is good for, at most 720h"`
	Host    string         `json:"host,omitempty" maxLength:"254" doc:"A public host of the group; missing: the release's own address"`
}

// Share makes a link to a release.
func (c *Client) Share(ctx context.Context, app cloud.AppRef, s Sharing) (SharedLink, error) {
	return call[SharedLink](ctx, c, http.MethodPost, appPath(app, "links"), nil, s)
}

// Links lists the links of a group.
func (c *Client) Links(ctx context.Context, g cloud.GroupName) ([]SharedLink, error) {
	return all[SharedLink](ctx, c, groupPath(g, "links"), nil)
}

// Unshare revokes a link.
func (c *Client) Unshare(ctx context.Context, g cloud.GroupName, id cloud.LinkID) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, groupPath(g, "links/"+url.PathEscape(string(id))), nil, nil)
}
