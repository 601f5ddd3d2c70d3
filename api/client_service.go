package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/protoduction/micro/cloud"
)

func servicePath(s cloud.AppRef, below string) string {
	path := groupPath(s.Group, "services/"+url.PathEscape(string(s.App)))
	if below != "" {
		path += "/" + below
	}
	return path
}

// Services lists the services of a group, the deleted ones too.
func (c *Client) Services(ctx context.Context, g cloud.GroupName) ([]Service, error) {
	return all[Service](ctx, c, groupPath(g, "services"), nil)
}

// Service shows a service, with the sessions of its accounts.
func (c *Client) Service(ctx context.Context, s cloud.AppRef) (Service, error) {
	return call[Service](ctx, c, http.MethodGet, servicePath(s, ""), nil, nil)
}

// CreateService makes a service. To see it ready, wait for its release (Client.Wait).
func (c *Client) CreateService(ctx context.Context, g cloud.GroupName, s NewService) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, groupPath(g, "services"), nil, s)
}

// DeleteService stops a service. Its data is kept for a week; with now, which is for services of brokers, it is not kept.
func (c *Client) DeleteService(ctx context.Context, s cloud.AppRef, now bool) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, servicePath(s, ""), url.Values(values{}.flag("now", now)), nil)
}

// UndeleteService brings a deleted service back.
func (c *Client) UndeleteService(ctx context.Context, s cloud.AppRef) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, servicePath(s, "undelete"), nil, nil)
}

// Bindings lists the bindings of a release, of the current one for N 0.
func (c *Client) Bindings(ctx context.Context, r cloud.ReleaseRef) (Bindings, error) {
	q := values{}.num("release", r.N)
	return call[Bindings](ctx, c, http.MethodGet, appPath(r.AppRef, "bindings"), url.Values(q), nil)
}

// ChangeBindings makes a release with other bindings; verb is bind, unbind, rebind or rotate. An app without a current
// release keeps the change for its next one: then Changed has no release.
func (c *Client) ChangeBindings(ctx context.Context, app cloud.AppRef, verb string, b BindingChange) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, appPath(app, verb), nil, b)
}

// ServiceKinds lists the kinds of services.
func (c *Client) ServiceKinds(ctx context.Context) ([]ServiceKind, error) {
	return all[ServiceKind](ctx, c, "/v1/service-kinds", nil)
}

// AddServiceKind adds a kind, or changes one that was added.
func (c *Client) AddServiceKind(ctx context.Context, text string) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, "/v1/service-kinds", nil, NewServiceKind{text})
}

// SetServiceImage says from which image a version of a kind runs.
func (c *Client) SetServiceImage(ctx context.Context, kind string, i ServiceImage) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, "/v1/service-kinds/"+url.PathEscape(kind)+"/images", nil, i)
}
