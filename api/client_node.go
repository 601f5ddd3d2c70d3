package api

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/protoduction/micro/cloud"
)

// Version says what the server is.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return call[Version](ctx, c, http.MethodGet, "/v1/version", nil, nil)
}

// Node shows the node, also one that is not ready yet.
func (c *Client) Node(ctx context.Context) (Node, error) {
	return call[Node](ctx, c, http.MethodGet, "/v1/node", nil, nil)
}

// Doctor checks the node and its surroundings.
func (c *Client) Doctor(ctx context.Context) ([]Check, error) {
	return all[Check](ctx, c, "/v1/doctor", nil)
}

// Disk says what takes room.
func (c *Client) Disk(ctx context.Context) (Disk, error) {
	return call[Disk](ctx, c, http.MethodGet, "/v1/disk", nil, nil)
}

// Prune removes what nothing needs.
func (c *Client) Prune(ctx context.Context) (Pruned, error) {
	return call[Pruned](ctx, c, http.MethodPost, "/v1/prune", nil, nil)
}

// Down takes the node off its machine. It returns when that has begun.
func (c *Client) Down(ctx context.Context) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "/v1/down", nil, nil)
	return err
}

// Images lists the images in the node's store.
func (c *Client) Images(ctx context.Context) ([]Image, error) {
	return all[Image](ctx, c, "/v1/images", nil)
}

// LoadImage stores the image of an archive under the names it has there, for FROM lines to find.
func (c *Client) LoadImage(ctx context.Context, archive io.Reader) (Image, error) {
	return call[Image](ctx, c, http.MethodPost, "/v1/images", nil, struct{ io.Reader }{archive})
}

// RemoveImageName removes a name that an image has, on all nodes.
func (c *Client) RemoveImageName(ctx context.Context, name string) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, "/v1/images/"+url.PathEscape(name), nil, nil)
}

// Events yields what happened and, with Follow, what happens.
func (c *Client) Events(ctx context.Context, q EventQuery) iter.Seq2[Event, error] {
	v := values{}.set("group", string(q.Group)).set("app", string(q.App)).set("after", q.After).time("since", q.Since).flag("follow", q.Follow)
	if q.Tail >= 0 {
		v["tail"] = []string{itoa(q.Tail)}
	}
	return stream[Event](ctx, c, http.MethodGet, "/v1/events", url.Values(v), nil)
}

// OpenAPI is the API's own description.
func (c *Client) OpenAPI(ctx context.Context) (json.RawMessage, error) {
	return call[json.RawMessage](ctx, c, http.MethodGet, "/v1/openapi.json", nil, nil)
}

func itoa(n int) string { return strconv.Itoa(n) }

// Ready returns nil from a node that takes work, and what it waits for else.
func (c *Client) Ready(ctx context.Context) error {
	n, err := c.Node(ctx)
	if err != nil {
		return err
	}
	if !n.Ready {
		return cloud.Errorf(cloud.Unavailable, "node %s is not ready: %s", n.Name, Printable(n.Waiting))
	}
	return nil
}
