package handler

import (
	"context"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

type reviewInput struct {
	AppInput
	Body api.Reviewing
}

func (in reviewInput) scopes(*cloud.State) []cloud.Scope {
	return scopeOf(in.ref().Release(in.Body.Release))
}

func (h *Handler) serveReviews() {
	get(h, operation("reviews", "GET /v1/groups/{group}/apps/{app}/reviews", "List what people said of an app's releases"),
		func(ctx context.Context, in *AppInput) (api.Reviews, error) {
			s := h.view(ctx).State
			if _, err := s.MustApp(in.ref()); err != nil {
				return api.Reviews{}, err
			}
			out := api.Reviews{Required: s.RequiresApproval(in.Group), Notes: []api.Note{}}
			if l, ok := s.Lock(in.ref()); ok {
				out.Locked = l.By + ": " + l.Text
			}
			for rel := range s.Releases(in.ref()) {
				for _, n := range s.Review(rel.ReleaseRef) {
					out.Notes = append(out.Notes, api.Note{Release: rel.N, Time: n.At, By: n.By, Approved: n.Approved, Text: n.Text})
				}
			}
			return out, nil
		})
	get(h, operation("review", "POST /v1/groups/{group}/apps/{app}/reviews", "Approve or reject a release"),
		func(ctx context.Context, in *reviewInput) (api.Changed, error) {
			ref, at, verb := in.ref().Release(in.Body.Release), h.stamp(ctx), "reject"
			if in.Body.Approved {
				verb = "approve"
			}
			return h.update(ctx, verb, ref.String(), &ref.N, func(s *cloud.State) ([]cloud.Change, error) {
				return s.AddNote(ref, cloud.Note{At: at.At, By: at.By, Approved: in.Body.Approved, Text: in.Body.Text})
			})
		})
	get(h, operation("lock", "POST /v1/groups/{group}/apps/{app}/lock", "Keep an app from being deployed"),
		func(ctx context.Context, in *struct {
			AppInput
			Body api.Locking
		}) (api.Changed, error) {
			at, n := h.stamp(ctx), 0
			// Once the app is unlocked, the audit log alone has why it was locked.
			return h.update(ctx, "lock", in.ref().String()+": "+in.Body.Text, &n, func(s *cloud.State) ([]cloud.Change, error) { return s.LockApp(in.ref(), in.Body.Text, at) })
		})
	get(h, operation("unlock", "DELETE /v1/groups/{group}/apps/{app}/lock", "Let an app be deployed again"),
		func(ctx context.Context, in *AppInput) (api.Changed, error) {
			n := 0
			return h.update(ctx, "unlock", in.ref().String(), &n, func(s *cloud.State) ([]cloud.Change, error) { return s.UnlockApp(in.ref()) })
		})
	get(h, operation("require-approval", "POST /v1/groups/{group}/approval", "Have a group want releases approved before the public reaches them, or no longer"),
		func(ctx context.Context, in *struct {
			GroupInput
			Body api.Approvals
		}) (api.Changed, error) {
			n := 0
			return h.update(ctx, "require-approval", "group "+string(in.Group), &n, func(s *cloud.State) ([]cloud.Change, error) {
				return s.RequireApproval(in.Group, in.Body.Required)
			})
		})
}
