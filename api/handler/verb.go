package handler

import (
	"context"
	"fmt"
	"slices"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Volumes are the apps' data.
type Volumes interface {
	// Drop removes all volumes of an app that no longer exists, on the node that has them.
	Drop(ctx context.Context, app cloud.AppRef) error
}

// update writes what fn returns, and answers with the revision and release n, which fn may set. What the
// caller is allowed is looked up once more in the State that fn gets: it may have changed meanwhile.
func (h *Handler) update(ctx context.Context, verb, object string, n *int, fn func(*cloud.State) ([]cloud.Change, error)) (api.Changed, error) {
	q := requestOf(ctx)
	note := ""
	s, err := h.Store.Update(ctx, q.actor, verb, object, func(s *cloud.State) ([]cloud.Change, error) {
		if err := q.check(s); err != nil {
			return nil, err
		}
		changes, err := fn(s)
		if err != nil {
			return nil, err
		}
		note = s.GapNoticeOf(changes)
		return changes, cloud.Join(s.CheckApproval(changes), s.CheckQuota(changes))
	})
	if err != nil {
		return api.Changed{}, err
	}
	return api.Changed{Revision: s.Rev(), Release: *n, Note: note}, nil
}

type scaleInput struct {
	AppInput
	Body api.ScaleChange
}

type envInput struct {
	AppInput
	Body api.EnvChange
}

// record writes an audit line of a read, before it is answered.
func (h *Handler) record(ctx context.Context, verb, object string) error {
	return h.Store.Record(ctx, requestOf(ctx).actor, verb, object, "done")
}

type verbInput struct {
	AppInput
	Body api.Verb
}

// change is a verb of package cloud about a release; it returns the release's number.
type change func(s *cloud.State, r cloud.ReleaseRef, force bool, at cloud.Stamp) ([]cloud.Change, int, error)

func (h *Handler) serveVerb(name, summary string, do change) {
	get(h, operation(name, "POST /v1/groups/{group}/apps/{app}/"+name, summary),
		func(ctx context.Context, in *verbInput) (api.Changed, error) {
			ref, at := in.ref().Release(in.Body.Release), h.stamp(ctx)
			var n int
			return h.update(ctx, name, ref.String(), &n, func(s *cloud.State) (changes []cloud.Change, err error) {
				changes, n, err = do(s, ref, in.Body.Force, at)
				return changes, err
			})
		})
}

// current is the number that a command without one is about.
func current(s *cloud.State, r cloud.ReleaseRef) int {
	if r.N != 0 {
		return r.N
	}
	if app, ok := s.App(r.AppRef); ok {
		if app.Current == 0 && app.Rollout != nil {
			return app.Rollout.To
		}
		return app.Current
	}
	return 0
}

func (h *Handler) serveVerbs() {
	h.serveVerb("promote", "Begin to make a release current",
		func(s *cloud.State, r cloud.ReleaseRef, force bool, at cloud.Stamp) ([]cloud.Change, int, error) {
			c, err := s.Promote(r, force, at)
			return c, r.N, err
		})
	h.serveVerb("rollback", "Begin to make an earlier release current again",
		func(s *cloud.State, r cloud.ReleaseRef, _ bool, at cloud.Stamp) ([]cloud.Change, int, error) {
			c, ref, err := s.Rollback(r.AppRef, r.N, at)
			return c, ref.N, err
		})
	h.serveVerb("restart", "Replace the instances of a release, batch by batch",
		func(s *cloud.State, r cloud.ReleaseRef, _ bool, _ cloud.Stamp) ([]cloud.Change, int, error) {
			c, err := s.Restart(r)
			return c, current(s, r), err
		})
	h.serveVerb("stop", "End the instances of a release",
		func(s *cloud.State, r cloud.ReleaseRef, force bool, _ cloud.Stamp) ([]cloud.Change, int, error) {
			c, err := s.Stop(r, force)
			return c, current(s, r), err
		})
	h.serveVerb("start", "Let a stopped release run again",
		func(s *cloud.State, r cloud.ReleaseRef, _ bool, at cloud.Stamp) ([]cloud.Change, int, error) {
			c, err := s.Start(r, at)
			return c, current(s, r), err
		})
	h.serveDelete()
	h.serveScale()
	h.serveEnv()
}

func (h *Handler) serveDelete() {
	get(h, operation("delete-app", "DELETE /v1/groups/{group}/apps/{app}", "Remove an app with its releases and the routes to it"),
		func(ctx context.Context, in *struct {
			AppInput
			Volumes bool `query:"volumes" doc:"Remove the app's volumes too, with all that is on them"`
		}) (api.Changed, error) {
			n := 0
			var volumes []string
			changed, err := h.update(ctx, "delete", in.ref().String(), &n, func(s *cloud.State) ([]cloud.Change, error) {
				volumes = s.Volumes(in.ref())
				return s.Delete(in.ref().Release(0))
			})
			if err == nil && in.Volumes {
				return changed, h.Volumes.Drop(ctx, in.ref())
			}
			changed.Volumes = volumes
			return changed, err
		})
	get(h, operation("delete-release", "DELETE /v1/groups/{group}/apps/{app}/releases/{release}", "Remove a release that nothing needs"),
		func(ctx context.Context, in *ReleaseInput) (api.Changed, error) {
			ref, err := in.ref()
			if err != nil {
				return api.Changed{}, err
			}
			return h.update(ctx, "delete", ref.String(), &ref.N, func(s *cloud.State) ([]cloud.Change, error) { return s.Delete(ref) })
		})
}

func (h *Handler) serveScale() {
	get(h, operation("scale", "POST /v1/groups/{group}/apps/{app}/scale", "Change how much of a release runs"),
		func(ctx context.Context, in *scaleInput) (api.Changed, error) {
			ref := in.ref().Release(in.Body.Release)
			want := map[cloud.ProcessName]cloud.ProcessSpec{}
			for name, to := range in.Body.Processes {
				want[name] = cloud.ProcessSpec{Instances: to.Instances, Memory: to.Memory, CPU: to.CPU, Disk: to.Disk}
			}
			var n int
			return h.update(ctx, "scale", ref.String(), &n, func(s *cloud.State) ([]cloud.Change, error) {
				n = current(s, ref)
				return s.Scale(ref, want, in.Body.Force)
			})
		})
}

func (h *Handler) serveEnv() {
	get(h, operation("env", "GET /v1/groups/{group}/apps/{app}/env", "Read the environment of a release"),
		func(ctx context.Context, in *struct {
			AppInput
			Release int `query:"release" minimum:"0" doc:"Missing: the current one"`
		}) (api.Env, error) {
			env, secrets, n, err := h.Store.State().EnvOf(in.ref().Release(in.Release))
			shown := map[string]string{}
			for k, v := range env {
				if !slices.Contains(secrets, k) {
					shown[k] = v
				}
			}
			return api.Env{Release: n, Env: shown, Secrets: secrets}, err
		})
	get(h, operation("secret", "GET /v1/groups/{group}/apps/{app}/secrets/{secret}", "Read a secret of a release's environment"),
		func(ctx context.Context, in *struct {
			AppInput
			Secret  string `path:"secret" maxLength:"1024"`
			Release int    `query:"release" minimum:"0" doc:"Missing: the current one"`
		}) (api.Secret, error) {
			ref := in.ref().Release(in.Release)
			env, secrets, n, err := h.Store.State().EnvOf(ref)
			if err == nil && !slices.Contains(secrets, in.Secret) {
				err = cloud.Errorf(cloud.NotFound, "%s has no secret %q", ref, in.Secret).WithCommand("micro secret list %s", ref)
			}
			if err == nil {
				err = h.record(ctx, "secret", fmt.Sprintf("%s %s", ref, in.Secret))
			}
			if err != nil {
				return api.Secret{}, err
			}
			return api.Secret{Release: n, Name: in.Secret, Value: env[in.Secret]}, nil
		})
	get(h, operation("set-env", "POST /v1/groups/{group}/apps/{app}/env", "Make a release with another environment"),
		func(ctx context.Context, in *envInput) (api.Changed, error) {
			ref, at := in.ref().Release(in.Body.Release), h.stamp(ctx)
			var n int
			return h.update(ctx, "env", fmt.Sprint(ref), &n, func(s *cloud.State) ([]cloud.Change, error) {
				changes, made, err := s.Env(ref, cloud.EnvChange{Set: in.Body.Set, Unset: in.Body.Unset, Secret: in.Body.Secret}, at)
				n = made.N
				return changes, err
			})
		})
}
