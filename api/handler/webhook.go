package handler

import (
	"context"
	"crypto/rand"
	"net/url"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Webhooks sends notices, and knows what has been sent.
type Webhooks interface {
	// Last returns when something was sent to a webhook last, and why that failed; the zero time for never.
	Last(w *cloud.Webhook) (at time.Time, failure string, err error)
	// Post sends a notice now, once.
	Post(ctx context.Context, w *cloud.Webhook, n cloud.Notice) error
}

type webhookInput struct {
	GroupInput
	Name string `path:"name" maxLength:"40"`
}

type newWebhookInput struct {
	GroupInput
	Body api.NewWebhook
}

// demands of a receiver inside: requests come from the nodes, which reach more than a group's people do.
func (in newWebhookInput) demands(*cloud.State) []need {
	if !in.Body.Inside {
		return nil
	}
	return []need{{cloud.MayAdminister, cloud.Scope{}}}
}

func (h *Handler) serveWebhooks() {
	get(h, operation("webhooks", "GET /v1/groups/{group}/webhooks", "List the URLs that are told of what happens to a group's apps"),
		func(ctx context.Context, in *struct {
			GroupInput
			Paging
		}) (api.List[api.Webhook], error) {
			s := h.view(ctx).State
			if err := mustGroup(s, in.Group); err != nil {
				return api.List[api.Webhook]{}, err
			}
			var failed error
			list := page(s.Webhooks(in.Group), in.Paging, func(w *cloud.Webhook) string { return w.Name }, func(w *cloud.Webhook) api.Webhook {
				shown := showWebhook(w)
				at, failure, err := h.Webhooks.Last(w)
				if err != nil {
					failed = err
				}
				if !at.IsZero() {
					shown.Sent, shown.Error = &at, failure
				}
				return shown
			})
			return list, failed
		})
	get(h, operation("add-webhook", "POST /v1/groups/{group}/webhooks", "Have a URL told of what happens to a group's apps"),
		func(ctx context.Context, in *newWebhookInput) (api.Webhook, error) {
			w := cloud.Webhook{Group: in.Group, Name: in.Body.Name, URL: in.Body.URL, Kinds: in.Body.Kinds, Inside: in.Body.Inside, Secret: rand.Text()}
			at, n := h.stamp(ctx), 0
			_, err := h.update(ctx, "add", "webhook "+w.Name, &n, func(s *cloud.State) ([]cloud.Change, error) { return s.AddWebhook(w, at) })
			if err != nil {
				return api.Webhook{}, err
			}
			made, err := h.Store.State().MustWebhook(in.Group, w.Name)
			if err != nil {
				return api.Webhook{}, err
			}
			shown := showWebhook(made)
			shown.Secret = made.Secret
			return shown, nil
		})
	get(h, operation("remove-webhook", "DELETE /v1/groups/{group}/webhooks/{name}", "Remove a webhook"),
		func(ctx context.Context, in *webhookInput) (api.Changed, error) {
			n := 0
			return h.update(ctx, "remove", "webhook "+in.Name, &n, func(s *cloud.State) ([]cloud.Change, error) { return s.RemoveWebhook(in.Group, in.Name) })
		})
	get(h, operation("test-webhook", "POST /v1/groups/{group}/webhooks/{name}/test", "Send a notice for a test"),
		func(ctx context.Context, in *webhookInput) (api.Changed, error) {
			w, err := h.Store.State().MustWebhook(in.Group, in.Name)
			if err != nil {
				return api.Changed{}, err
			}
			at := h.stamp(ctx)
			notice := cloud.Notice{
				ID: "test " + at.At.UTC().Format(time.RFC3339Nano), Time: at.At, Kind: "test", App: cloud.AppRef{Group: in.Group}, By: at.By,
				Text: at.By + " tests this webhook",
			}
			if err := h.Webhooks.Post(ctx, w, notice); err != nil {
				return api.Changed{}, cloud.Errorf(cloud.Unavailable, "webhook %s: %w", w.Name, err).WithCommand("micro webhook list")
			}
			return api.Changed{}, nil
		})
}

// showWebhook shows a webhook without its secrets.
func showWebhook(w *cloud.Webhook) api.Webhook {
	shown := api.Webhook{Name: w.Name, Group: w.Group, Kinds: w.Kinds, Inside: w.Inside, Created: w.Created, By: w.By}
	if u, err := url.Parse(w.URL); err == nil {
		shown.Host = u.Host
	}
	if len(shown.Kinds) == 0 {
		shown.Kinds = cloud.NoticeKinds()
	}
	return shown
}
