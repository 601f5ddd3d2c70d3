package api

import (
	"context"
	"net/http"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Reviewing approves or rejects a release.
type Reviewing struct {
	Release  int    `json:"release" minimum:"1"`
	Approved bool   `json:"approved"`
	Text     string `json:"text,omitempty" maxLength:"2000" doc:"Why; of a rejection it must be said"`
}

// Reviews are what people said of an app's releases, and what keeps it from being deployed.
type Reviews struct {
	Required bool   `json:"approval_required" doc:"The group wants a release approved before the public reaches it"`
	Locked   string `json:"locked,omitempty" doc:"Who locked the app, and why"`
	Notes    []Note `json:"notes" nullable:"false" doc:"By release, and then by time"`
}

// Note is what one person said of a release.
type Note struct {
	Release  int       `json:"release"`
	Time     time.Time `json:"time"`
	By       string    `json:"by"`
	Approved bool      `json:"approved" doc:"Else it is rejected"`
	Text     string    `json:"text,omitempty"`
}

// Locking locks an app.
type Locking struct {
	Text string `json:"text" minLength:"1" maxLength:"2000" doc:"Why, and until when"`
}

// Approvals says whether a group wants releases approved.
type Approvals struct {
	Required bool `json:"approval_required"`
}

// Reviews lists what people said of an app's releases.
func (c *Client) Reviews(ctx context.Context, app cloud.AppRef) (Reviews, error) {
	return call[Reviews](ctx, c, http.MethodGet, appPath(app, "reviews"), nil, nil)
}

// Review approves or rejects a release.
func (c *Client) Review(ctx context.Context, app cloud.AppRef, r Reviewing) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, appPath(app, "reviews"), nil, r)
}

// Lock keeps an app from being deployed.
func (c *Client) Lock(ctx context.Context, app cloud.AppRef, text string) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, appPath(app, "lock"), nil, Locking{text})
}

// Unlock lets an app be deployed again.
func (c *Client) Unlock(ctx context.Context, app cloud.AppRef) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, appPath(app, "lock"), nil, nil)
}

// RequireApproval has a group want releases approved before the public reaches them, or no longer.
func (c *Client) RequireApproval(ctx context.Context, g cloud.GroupName, required bool) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, groupPath(g, "approval"), nil, Approvals{required})
}
