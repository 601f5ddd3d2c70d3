package api

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/url"

	"github.com/protoduction/micro/cloud"
)

// Push creates a push; all that is wrong with the request is reported before anything is sent. What the
// request says will be uploaded is expected within minutes.
func (c *Client) Push(ctx context.Context, app cloud.AppRef, d PushRequest) (Push, error) {
	return call[Push](ctx, c, http.MethodPost, appPath(app, "pushes"), nil, d)
}

// ListFiles sends the list of all that a push's folder has (cloud/source.ListWriter). The answer names the
// files that have to be uploaded.
func (c *Client) ListFiles(ctx context.Context, id string, list io.Reader) (Push, error) {
	return c.send(ctx, id, "/files", list)
}

// Upload sends what the push waits for: a tar stream of the folder, or the archive. It returns when all
// has been received; PushEvents tells the rest. After an error of code Interrupted it may be sent again.
func (c *Client) Upload(ctx context.Context, id string, content io.Reader) (Push, error) {
	return c.send(ctx, id, "/upload", content)
}

func (c *Client) send(ctx context.Context, id, rest string, content io.Reader) (Push, error) {
	p, err := call[Push](ctx, c, http.MethodPut, pushPath(id, rest), nil, struct{ io.Reader }{content})
	if cloud.CodeOf(err) != cloud.Unavailable || ctx.Err() != nil {
		return p, err
	}
	// The connection broke, perhaps because the push had ended: its reason says more.
	if now, serr := c.PushByID(ctx, id); serr == nil && now.Failure != nil {
		return now, now.Failure.Err()
	}
	return p, err
}

// Pushes lists the pushes of a group that are under way, and those that ended in the last minutes, the
// oldest first; app "" is all apps.
func (c *Client) Pushes(ctx context.Context, group cloud.GroupName, app cloud.AppName) ([]Push, error) {
	return all[Push](ctx, c, groupPath(group, "pushes"), url.Values(values{}.set("app", string(app))))
}

// PushByID shows a push.
func (c *Client) PushByID(ctx context.Context, id string) (Push, error) {
	return call[Push](ctx, c, http.MethodGet, pushPath(id, ""), nil, nil)
}

// CancelPush gives a push up, as long as its release is not current: the app is as it was before.
func (c *Client) CancelPush(ctx context.Context, id string) (Push, error) {
	return call[Push](ctx, c, http.MethodDelete, pushPath(id, ""), nil, nil)
}

// PushEvents yields what happens to a push, from event number from on (1 for all). The last event has the
// Outcome; a push that fails ends with the error. After an Unavailable error the push goes on: ask again
// from the number after the last one seen.
func (c *Client) PushEvents(ctx context.Context, id string, from int) iter.Seq2[PushEvent, error] {
	return func(yield func(PushEvent, error) bool) {
		ended := false
		q := url.Values(values{}.num("from", from))
		for e, err := range stream[PushEvent](ctx, c, http.MethodGet, pushPath(id, "/events"), q, nil) {
			if e.Failure != nil {
				err = e.Failure.Err()
			}
			ended = ended || err != nil || e.Outcome != nil
			if !yield(e, err) {
				return
			}
		}
		if !ended {
			yield(PushEvent{}, cloud.Errorf(cloud.Unavailable, "the stream broke off before the push had ended"))
		}
	}
}

func pushPath(id, rest string) string { return "/v1/pushes/" + url.PathEscape(id) + rest }
