package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/protoduction/micro/cloud"
)

// Limit is a limit of requests or connections that is in force.
type Limit struct {
	Name  string `json:"name"`
	Value string `json:"value" doc:"A time such as 1m30s, a size such as 2G, or none"`
	From  string `json:"from" enum:"default,cloud,route" doc:"Who sets it"`
	About string `json:"about" doc:"What it limits"`
}

// LimitsQuery asks for limits; without a host for those of the cloud.
type LimitsQuery struct {
	Host, Path string
}

// NewLimits sets limits by name; default takes one back.
type NewLimits struct {
	Host   string            `json:"host,omitempty" maxLength:"254" doc:"Missing: of all routes that do not set their own"`
	Path   string            `json:"path,omitempty" maxLength:"2048" doc:"Missing: /"`
	Limits map[string]string `json:"limits" minProperties:"1" maxProperties:"50"`
}

// Limits lists the limits in force for a route of a group, or for the cloud.
func (c *Client) Limits(ctx context.Context, g cloud.GroupName, q LimitsQuery) (List[Limit], error) {
	path, query := "/v1/limits", url.Values{}
	if q.Host != "" {
		path = groupPath(g, "routes/limits")
		query.Set("host", q.Host)
		query.Set("path", q.Path)
	}
	return call[List[Limit]](ctx, c, http.MethodGet, path, query, nil)
}

// SetLimits sets limits of a route of a group, or of the cloud.
func (c *Client) SetLimits(ctx context.Context, g cloud.GroupName, l NewLimits) (Changed, error) {
	if l.Host == "" {
		return call[Changed](ctx, c, http.MethodPost, "/v1/limits", nil, l)
	}
	return call[Changed](ctx, c, http.MethodPost, groupPath(g, "routes/limits"), nil, l)
}
