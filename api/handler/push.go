package handler

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Pushes are the pushes under way, and those that ended a short time ago.
type Pushes interface {
	// Create begins a push; an error reports everything that is wrong with the request.
	Create(app cloud.AppRef, r api.PushRequest, by cloud.Actor) (api.Push, error)
	Push(id string) (api.Push, error)
	// Pushes returns the pushes of a group, the oldest first.
	Pushes(group cloud.GroupName) []api.Push
	// Cancel ends a push, as long as its release is not up.
	Cancel(ctx context.Context, id string, by cloud.Actor) (api.Push, error)
}

// Transfers are what is sent to a push and what it reports.
type Transfers interface {
	// ListFiles reads the list of what a folder has, like Receive.
	ListFiles(ctx context.Context, id string, body io.Reader, stop func()) (api.Push, error)
	// Receive reads what a push waits for. It calls stop, from another goroutine, when a read must return.
	Receive(ctx context.Context, id string, body io.Reader, stop func()) (api.Push, error)
	// Events yields what happens to a push, from event number from on.
	Events(ctx context.Context, id string, from int) (iter.Seq2[api.PushEvent, error], error)
}

type pushInput struct {
	AppInput
	Body api.PushRequest
}

// PushInput names a push.
type PushInput struct {
	ID string `path:"id" maxLength:"64" doc:"ID of the push"`
}

func (h *Handler) servePushes() {
	begin := operation("push", "POST /v1/groups/{group}/apps/{app}/pushes", "Begin a push: all that is wrong with it is reported at once")
	begin.MaxBodyBytes = api.MaxPushRequest
	get(h, begin,
		func(ctx context.Context, in *pushInput) (api.Push, error) {
			actor := requestOf(ctx).actor
			if err := mayExpose(h.Store.State(), actor, in.ref(), in.Body.Spec); err != nil {
				return api.Push{}, err
			}
			return h.Pushes.Create(in.ref(), in.Body, actor)
		})
	list := upload(operation("list-files", "PUT /v1/pushes/{id}/files", "List what the folder has, so that only what the node does not have must be uploaded"),
		"A line of JSON for each file, folder and symbolic link: path (below the folder, with /), mode (permission bits), size and digest (sha256:…) of a file, link (target) of a link, dir (true) of a folder, modified (RFC 3339)")
	list.RequestBody.Content = map[string]*huma.MediaType{"application/x-ndjson": list.RequestBody.Content["application/octet-stream"]}
	get(h, list, func(ctx context.Context, in *PushInput) (api.Push, error) {
		return h.receive(ctx, in.ID, h.Transfers.ListFiles)
	})
	get(h, upload(operation("upload", "PUT /v1/pushes/{id}/upload", "Send what a push waits for"), "A tar stream of the folder, or the archive of an image"),
		func(ctx context.Context, in *PushInput) (api.Push, error) {
			return h.receive(ctx, in.ID, h.Transfers.Receive)
		})
	get(h, operation("pushes", "GET /v1/groups/{group}/pushes", "List the pushes under way, and those that ended in the last minutes, the oldest first"),
		func(ctx context.Context, in *struct {
			GroupInput
			App cloud.AppName `query:"app" maxLength:"64" doc:"Missing: all"`
		}) (api.List[api.Push], error) {
			if err := mustGroup(h.Store.State(), in.Group); err != nil {
				return api.List[api.Push]{}, err
			}
			sees := h.sees(ctx)
			list := slices.DeleteFunc(h.Pushes.Pushes(in.Group), func(p api.Push) bool {
				return in.App != "" && p.App != in.App || !sees(cloud.AppRef{Group: p.Group, App: p.App})
			})
			if in.App != "" && len(list) == 0 { // an app has pushes before it is there
				if _, err := h.Store.State().MustApp(cloud.AppRef{Group: in.Group, App: in.App}); err != nil {
					return api.List[api.Push]{}, err
				}
			}
			return whole(list), nil
		})
	get(h, operation("show-push", "GET /v1/pushes/{id}", "Show a push, also one that an earlier process of the node began"),
		func(ctx context.Context, in *PushInput) (api.Push, error) { return h.Pushes.Push(in.ID) })
	get(h, operation("cancel-push", "DELETE /v1/pushes/{id}", "Cancel a push: the app is as it was before"),
		func(ctx context.Context, in *PushInput) (api.Push, error) {
			return h.Pushes.Cancel(ctx, in.ID, requestOf(ctx).actor)
		})
	events(h, operation("push-events", "GET /v1/pushes/{id}/events", "Follow a push; the last event is its outcome or failure"),
		func(ctx context.Context, in *struct {
			PushInput
			From int `query:"from" minimum:"0" doc:"Number of the event to begin with"`
		}) (iter.Seq2[api.PushEvent, error], error) {
			return h.Transfers.Events(ctx, in.ID, in.From)
		},
		func(e api.PushEvent) string { return fmt.Sprint(e.Seq) })
}

// allowPush reports what keeps the caller from a push, which is looked up by its ID.
func (h *Handler) allowPush(q *request, needs cloud.Permission, id string) error {
	p, err := h.Pushes.Push(id)
	if err != nil {
		return err
	}
	scope := cloud.Scope{Group: p.Group, App: p.App, Staged: true}
	q.need(need{needs, scope})
	err = h.Store.State().May(q.actor, needs, scope)
	if cloud.CodeOf(err) == cloud.NotFound {
		// As an unknown one is answered: nobody learns of another group's pushes.
		return cloud.Errorf(cloud.NotFound, "no push %q: it ended before it made a release, and changed nothing", id).WithHint("push again")
	}
	return err
}

// mayExpose reports a public route that a manifest asks for in the name of somebody who may not map one.
func mayExpose(s *cloud.State, by cloud.Actor, app cloud.AppRef, spec cloud.PushSpec) error {
	for _, r := range spec.Routes {
		if !r.Public {
			continue
		}
		if err := s.May(by, cloud.MayExpose, cloud.Scope{Group: app.Group, Host: r.Host}); err != nil {
			return cloud.Errorf(cloud.Denied, "the manifest maps %s for the public: %w", r.Host, err).
				WithHint("push without it, and have somebody map it: micro map %s %s --public", app.App, r.Host)
		}
	}
	return nil
}
