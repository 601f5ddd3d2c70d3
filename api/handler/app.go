package handler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// GroupInput and the like are parts of inputs; huma looks into exported fields alone.
type GroupInput struct {
	Group cloud.GroupName `path:"group" maxLength:"64" doc:"Name of the group"`
}

// AppInput names an app.
type AppInput struct {
	GroupInput
	App cloud.AppName `path:"app" maxLength:"64" doc:"Name of the app"`
}

func (in AppInput) ref() cloud.AppRef { return cloud.AppRef{Group: in.Group, App: in.App} }

// ReleaseInput names a release.
type ReleaseInput struct {
	AppInput
	Release string `path:"release" maxLength:"16" doc:"r7 or 7"`
}

func (in ReleaseInput) ref() (cloud.ReleaseRef, error) {
	n, err := cloud.ParseRelease(in.Release)
	return in.AppInput.ref().Release(n), err
}

type newAppInput struct {
	GroupInput
	Body api.NewApp
}

func mustGroup(s *cloud.State, g cloud.GroupName) error {
	_, err := s.MustGroup(g)
	return err
}

func (h *Handler) serveApps() {
	get(h, operation("apps", "GET /v1/groups/{group}/apps", "List the apps of a group by name"),
		func(ctx context.Context, in *struct {
			GroupInput
			Paging
		}) (api.List[api.App], error) {
			v := h.view(ctx)
			if err := mustGroup(v.State, in.Group); err != nil {
				return api.List[api.App]{}, err
			}
			key := func(a *cloud.App) string { return string(a.App) }
			sees := h.sees(ctx)
			visible := filter(v.State.Apps(in.Group), func(a *cloud.App) bool { return a.Service == nil && sees(a.AppRef) })
			return page(visible, in.Paging, key, func(a *cloud.App) api.App { return h.app(v, a) }), nil
		})
	get(h, operation("create-app", "POST /v1/groups/{group}/apps", "Make an app without a release, to set its environment and map hosts before the first push"),
		func(ctx context.Context, in *newAppInput) (api.Changed, error) {
			app, at, n := cloud.AppRef{Group: in.Group, App: in.Body.Name}, h.stamp(ctx), 0
			return h.update(ctx, "create", app.String(), &n, func(s *cloud.State) ([]cloud.Change, error) { return s.Create(app, at) })
		})
	get(h, operation("app", "GET /v1/groups/{group}/apps/{app}", "Show an app"),
		func(ctx context.Context, in *AppInput) (api.App, error) {
			v := h.view(ctx)
			app, err := v.State.MustApp(in.ref())
			if err != nil {
				return api.App{}, err
			}
			return h.app(v, app), nil
		})
	get(h, operation("releases", "GET /v1/groups/{group}/apps/{app}/releases", "List an app's releases, the newest first"),
		func(ctx context.Context, in *struct {
			AppInput
			Paging
		}) (api.List[api.Release], error) {
			v := h.view(ctx)
			if _, err := v.State.MustApp(in.ref()); err != nil {
				return api.List[api.Release]{}, err
			}
			releases := slices.Collect(v.State.Releases(in.ref()))
			slices.Reverse(releases)
			key := func(r *cloud.Release) string { return fmt.Sprintf("%08d", 99_999_999-r.N) }
			return page(slices.Values(releases), in.Paging, key, func(r *cloud.Release) api.Release { return h.release(v, r) }), nil
		})
	get(h, operation("release", "GET /v1/groups/{group}/apps/{app}/releases/{release}", "Show a release"),
		func(ctx context.Context, in *ReleaseInput) (api.Release, error) {
			v := h.view(ctx)
			ref, err := in.ref()
			if err != nil {
				return api.Release{}, err
			}
			_, rel, err := v.State.MustRelease(ref)
			if err != nil {
				return api.Release{}, err
			}
			return h.release(v, rel), nil
		})
	get(h, operation("diff", "GET /v1/groups/{group}/apps/{app}/diff", "Say what sets two releases apart"),
		func(ctx context.Context, in *struct {
			AppInput
			From int `query:"from" required:"true" minimum:"1"`
			To   int `query:"to" required:"true" minimum:"1"`
		}) (api.List[api.Difference], error) {
			s := h.Store.State()
			_, from, err := s.MustRelease(in.ref().Release(in.From))
			if err != nil {
				return api.List[api.Difference]{}, err
			}
			_, to, err := s.MustRelease(in.ref().Release(in.To))
			if err != nil {
				return api.List[api.Difference]{}, err
			}
			return whole(diff(from, to)), nil
		})
}

// app shows an app.
func (h *Handler) app(v cloud.View, a *cloud.App) api.App {
	out := api.App{
		Group: a.Group, Name: a.App, Created: a.Created, Current: a.Current, Last: a.Last,
		Addresses: h.URLs(h.Domain.App(a.AppRef)), Hosts: []string{},
	}
	if e := egressOf(v.State, a.Group, a.App); e.Closed {
		out.Egress = &e
	}
	if a.Rollout != nil {
		out.Rollout = a.Rollout.To
	}
	n := a.Current
	if n == 0 {
		n = out.Rollout
	}
	if n == 0 {
		n = a.Last
	}
	if rel, ok := v.State.Release(a.Release(n)); ok && n != 0 {
		out.Phase = v.State.PhaseOf(rel)
		out.Image = rel.Spec.Image.Name
		ready := readyOf(v, rel)
		for name := range rel.Formation {
			out.Ready += ready[name]
		}
		out.Instances = rel.Formation.Instances()
		for _, name := range slices.Sorted(maps.Keys(rel.Formation)) {
			if name != cloud.ReleaseCommand && rel.Formation[name].Instances == 0 {
				out.Idle = append(out.Idle, name)
			}
		}
		if _, web := rel.Spec.Processes[cloud.Web]; !web || a.Service != nil {
			out.Addresses = []string{}
		}
	}
	for vhost := range v.State.HostsOf(a.AppRef) {
		for _, r := range vhost.Routes {
			if slices.ContainsFunc(r.Targets, func(t cloud.Target) bool { return t.AppRef == a.AppRef }) {
				out.Hosts = append(out.Hosts, hostPath(vhost.Host, r.Path))
			}
		}
	}
	return out
}

func hostPath(h cloud.Host, path string) string {
	if path == "/" {
		return string(h)
	}
	return string(h) + path
}

// release shows a release.
func (h *Handler) release(v cloud.View, r *cloud.Release) api.Release {
	ready := readyOf(v, r)
	out := api.Release{
		Group: r.Group, App: r.App, Release: r.N, Phase: v.State.PhaseOf(r), Created: r.Created, By: r.By, Cause: r.Cause,
		Parent: r.Parent, Image: r.Spec.Image.Name, Digest: r.Spec.Image.Digest, Strategy: r.Spec.Strategy.Kind,
		Processes: map[cloud.ProcessName]api.Process{}, Instances: v.State.Wanted(r).Instances(), Staged: r.Staged, Warm: r.Warm,
		Failure: r.Failure, Fade: lastFade(r), Labels: r.Spec.Labels,
		Addresses: h.URLs(h.Domain.Release(r.ReleaseRef, r.Created)),
	}
	app, known := v.State.App(r.AppRef)
	if _, web := r.Spec.Processes[cloud.Web]; !web || known && app.Service != nil {
		out.Addresses = []string{}
	}
	for name, p := range r.Spec.Processes {
		s := r.Formation[name]
		out.Ready += ready[name]
		out.Processes[name] = api.Process{
			Command: p.Command, Port: p.Port, Instances: s.Instances, Memory: s.Memory, CPU: s.CPU, Disk: s.Disk, Ready: ready[name],
			Liveness: p.Liveness, Readiness: p.Readiness,
		}
	}
	return out
}

// lastFade says in words how the last cross-fade to a release went.
func lastFade(r *cloud.Release) string {
	if len(r.Fades) == 0 {
		return ""
	}
	f := r.Fades[len(r.Fades)-1]
	where := string(f.Host) + strings.TrimSuffix(f.Path, "/")
	if f.Finished {
		return "took over " + where
	}
	return fmt.Sprintf("went back on %s: %s", where, f.Reason)
}

// readyOf counts the ready instances of a release by process.
func readyOf(v cloud.View, r *cloud.Release) map[cloud.ProcessName]int {
	ready := map[cloud.ProcessName]int{}
	for i := range v.Instances.OfRelease(r.ReleaseRef) {
		if i.Phase == cloud.InstanceReady {
			ready[i.Process]++
		}
	}
	return ready
}
