package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/protoduction/micro/cloud"
)

// Crossfade begins a cross-fade or cutover of a route.
func (c *Client) Crossfade(ctx context.Context, g cloud.GroupName, f Crossfading) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, groupPath(g, "routes/crossfade"), nil, f)
}

// SteerCrossfade pauses, resumes or aborts a cross-fade: verb is one of these words.
func (c *Client) SteerCrossfade(ctx context.Context, g cloud.GroupName, verb string, f Fading) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, groupPath(g, "routes/crossfade-"+verb), nil, f)
}

// Compare shows what the releases of a route did at the same time.
func (c *Client) Compare(ctx context.Context, g cloud.GroupName, host, path string) (Comparison, error) {
	q := url.Values{"host": {host}, "path": {path}}
	return call[Comparison](ctx, c, http.MethodGet, groupPath(g, "compare"), q, nil)
}

// FadesOf shows the records of the cross-fades to a release.
func (c *Client) FadesOf(ctx context.Context, r cloud.ReleaseRef) ([]FadeRecord, error) {
	q := url.Values{"app": {string(r.App)}, "release": {strconv.Itoa(r.N)}}
	return all[FadeRecord](ctx, c, groupPath(r.Group, "fades"), q)
}

// FadesTo shows the records of a route's cross-fades.
func (c *Client) FadesTo(ctx context.Context, g cloud.GroupName, host, path string) ([]FadeRecord, error) {
	return all[FadeRecord](ctx, c, groupPath(g, "fades"), url.Values{"host": {host}, "path": {path}})
}

// Pass makes a pass to a release of a host.
func (c *Client) Pass(ctx context.Context, g cloud.GroupName, r PassRequest) (Pass, error) {
	return call[Pass](ctx, c, http.MethodPost, groupPath(g, "routes/pass"), nil, r)
}
