package api

import (
	"context"
	"net/http"

	"github.com/protoduction/micro/cloud"
)

// Routes lists the routes of a group: those that were mapped and the own addresses of its apps.
func (c *Client) Routes(ctx context.Context, g cloud.GroupName) ([]Route, error) {
	return all[Route](ctx, c, groupPath(g, "routes"), nil)
}

// Map routes a path of a host to an app or release.
func (c *Client) Map(ctx context.Context, g cloud.GroupName, m Mapping) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, groupPath(g, "routes/map"), nil, m)
}

// Unmap takes a target from a route, or gives a host up.
func (c *Client) Unmap(ctx context.Context, g cloud.GroupName, u Unmapping) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, groupPath(g, "routes/unmap"), nil, u)
}

// Traffic replaces all weights of a route in one step.
func (c *Client) Traffic(ctx context.Context, g cloud.GroupName, w Weights) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, groupPath(g, "routes/traffic"), nil, w)
}

// Swap exchanges the routes of two hosts.
func (c *Client) Swap(ctx context.Context, g cloud.GroupName, s Swap) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, groupPath(g, "routes/swap"), nil, s)
}
