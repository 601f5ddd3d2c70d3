package handler

import (
	"context"
	"fmt"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

type bindingInput struct {
	AppInput
	Body api.BindingChange
}

// useOf is what using a service needs: as much as changing it, so that production services are for releasers.
func useOf(g cloud.GroupName, service cloud.AppName) need {
	return need{cloud.MayDeploy, cloud.Scope{Group: g, App: service, Staged: true}}
}

func (in bindingInput) scopes(s *cloud.State) []cloud.Scope {
	rel, ok := s.Release(in.ref().Release(in.Body.Release))
	staged := ok && rel.Staged
	gone := map[cloud.AppName]cloud.AppName{in.Body.Service: ""}
	if in.Body.From != "" {
		gone = map[cloud.AppName]cloud.AppName{in.Body.From: in.Body.Service}
	}
	return []cloud.Scope{{Group: in.Group, App: in.App, Release: in.Body.Release, Staged: staged, Unbound: staged && leavesProduction(s, in.ref().Release(in.Body.Release), gone)}}
}

// demands of a change of bindings are those of the service that is used from now on.
func (in bindingInput) demands(*cloud.State) []need { return []need{useOf(in.Group, in.Body.Service)} }

// leavesProduction reports whether a release would be bound to no production service once others replace some of its
// services.
func leavesProduction(s *cloud.State, r cloud.ReleaseRef, gone map[cloud.AppName]cloud.AppName) bool {
	rel, ok := s.Release(r)
	if !ok {
		return false
	}
	for _, b := range rel.Spec.Bindings {
		name := b.Service
		if to, replaced := gone[name]; replaced {
			name = to
		}
		if app, ok := s.App(cloud.AppRef{Group: r.Group, App: name}); ok && app.Service != nil && app.Service.Production {
			return false
		}
	}
	return true
}

func (h *Handler) serveBindings() {
	get(h, operation("bindings", "GET /v1/groups/{group}/apps/{app}/bindings", "List the services that a release is bound to"),
		func(ctx context.Context, in *struct {
			AppInput
			Release int `query:"release" minimum:"0" doc:"Missing: the current one"`
		}) (api.Bindings, error) {
			s := h.Store.State()
			bindings, n, err := s.BindingsOf(in.ref().Release(in.Release))
			if err != nil {
				return api.Bindings{}, err
			}
			out := api.Bindings{Release: n, Items: []api.BoundService{}}
			names := s.BindingVariables(in.Group, bindings)
			for i, b := range bindings {
				shown := api.BoundService{Service: b.Service, Name: b.Called(), Variables: names[i]}
				if a, ok := s.Account(in.ref(), b); ok {
					shown.User = a.Credentials.User
				}
				out.Items = append(out.Items, shown)
			}
			return out, nil
		})
	h.serveBinding("bind", "Make a release that is bound to a service", func(b api.BindingChange) cloud.BindingChange {
		return cloud.BindingChange{Bind: []cloud.Binding{{Service: b.Service, Name: b.Name, As: b.As, Parameters: string(b.Parameters)}}}
	})
	h.serveBinding("unbind", "Make a release that is not bound to a service any more; its account is revoked and its sessions end", func(b api.BindingChange) cloud.BindingChange {
		return cloud.BindingChange{Unbind: []cloud.AppName{b.Service}}
	})
	h.serveBinding("rebind", "Make a release that uses one service instead of another", func(b api.BindingChange) cloud.BindingChange {
		return cloud.BindingChange{Rebind: map[cloud.AppName]cloud.AppName{b.From: b.Service}, Parameters: string(b.Parameters)}
	})
	h.serveBinding("rotate", "Make a release with another account at a service; the old one is revoked when nothing uses it", func(b api.BindingChange) cloud.BindingChange {
		return cloud.BindingChange{Rotate: []cloud.AppName{b.Service}, Parameters: string(b.Parameters)}
	})
}

func (h *Handler) serveBinding(verb, summary string, change func(api.BindingChange) cloud.BindingChange) {
	get(h, operation(verb, "POST /v1/groups/{group}/apps/{app}/"+verb, summary),
		func(ctx context.Context, in *bindingInput) (api.Changed, error) {
			if verb == "rebind" && in.Body.From == "" {
				return api.Changed{}, cloud.Errorf(cloud.Invalid, "rebind: from is missing").WithCommand("micro rebind %s --from OLD --to NEW", in.App)
			}
			if err := h.Services.CheckParameters(in.Body.Parameters); err != nil {
				return api.Changed{}, err
			}
			ref, at, n := in.ref().Release(in.Body.Release), h.stamp(ctx), 0
			return h.update(ctx, verb, fmt.Sprintf("%s %s", ref, in.Body.Service), &n, func(s *cloud.State) ([]cloud.Change, error) {
				changes, made, err := s.ChangeBindings(ref, change(in.Body), verb, at)
				n = made.N
				return changes, err
			})
		})
}

func (h *Handler) serveServiceKinds() {
	get(h, operation("service-kinds", "GET /v1/service-kinds", "List the kinds of services"),
		func(context.Context, *struct{}) (api.List[api.ServiceKind], error) {
			return whole(h.Services.Kinds()), nil
		})
	get(h, operation("add-service-kind", "POST /v1/service-kinds", "Add a kind of services, or change one that was added"),
		func(ctx context.Context, in *struct{ Body api.NewServiceKind }) (api.Changed, error) {
			n := 0
			return h.update(ctx, "add-service-kind", "kinds", &n, func(s *cloud.State) ([]cloud.Change, error) {
				changes, _, err := h.Services.AddKind(s, in.Body.Text)
				return changes, err
			})
		})
	get(h, operation("set-service-image", "POST /v1/service-kinds/{kind}/images", "Say from which image a version of a kind runs"),
		func(ctx context.Context, in *struct {
			Kind string `path:"kind" maxLength:"64"`
			Body api.ServiceImage
		}) (api.Changed, error) {
			n := 0
			return h.update(ctx, "set-service-image", in.Kind+" "+in.Body.Version, &n, func(s *cloud.State) ([]cloud.Change, error) {
				return h.Services.SetImage(s, in.Kind, in.Body.Version, in.Body.Image)
			})
		})
}
