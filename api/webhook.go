package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Webhook is a URL that is told of what happens to a group's apps.
type Webhook struct {
	Name    string             `json:"name"`
	Group   cloud.GroupName    `json:"group"`
	Host    string             `json:"host" doc:"Of the URL, whose rest may be a password"`
	Kinds   []cloud.NoticeKind `json:"kinds" nullable:"false" doc:"What is sent: failed, approved, rejected, crossfade-started, crossfade-finished, crossfade-aborted"`
	Inside  bool               `json:"inside,omitempty" doc:"The receiver may be an address that only the nodes can reach"`
	Created time.Time          `json:"created"`
	By      string             `json:"by"`
	Sent    *time.Time         `json:"sent,omitempty" doc:"When something was sent last, or tried to be"`
	Error   string             `json:"error,omitempty" doc:"Why the last attempt failed; it is repeated for a day"`
	Secret  string             `json:"secret,omitempty" doc:"Key of the signature, shown only when the webhook is added"`
}

// NewWebhook adds a webhook.
type NewWebhook struct {
	Name   string             `json:"name" minLength:"1" maxLength:"40"`
	URL    string             `json:"url" minLength:"1" maxLength:"2000"`
	Kinds  []cloud.NoticeKind `json:"kinds,omitempty" maxItems:"20" doc:"Missing: all kinds"`
	Inside bool               `json:"inside,omitempty" doc:"Allow addresses that only the nodes can reach; for administrators of the cloud"`
}

// Webhooks lists a group's webhooks.
func (c *Client) Webhooks(ctx context.Context, g cloud.GroupName) ([]Webhook, error) {
	return all[Webhook](ctx, c, groupPath(g, "webhooks"), nil)
}

// AddWebhook adds a webhook and returns it with the key of its signature.
func (c *Client) AddWebhook(ctx context.Context, g cloud.GroupName, w NewWebhook) (Webhook, error) {
	return call[Webhook](ctx, c, http.MethodPost, groupPath(g, "webhooks"), nil, w)
}

// RemoveWebhook removes a webhook.
func (c *Client) RemoveWebhook(ctx context.Context, g cloud.GroupName, name string) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, groupPath(g, "webhooks/"+url.PathEscape(name)), nil, nil)
}

// TestWebhook sends a notice for a test, and returns an error if the receiver does not accept it.
func (c *Client) TestWebhook(ctx context.Context, g cloud.GroupName, name string) error {
	_, err := call[Changed](ctx, c, http.MethodPost, groupPath(g, "webhooks/"+url.PathEscape(name)+"/test"), nil, nil)
	return err
}
