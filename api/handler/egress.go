package handler

import (
	"context"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

type egressInput struct {
	GroupInput
	App cloud.AppName `query:"app" maxLength:"63" doc:"Missing: the group's policy"`
}

func (in egressInput) scopes(*cloud.State) []cloud.Scope {
	return []cloud.Scope{{Group: in.Group, App: in.App}}
}

type setEgressInput struct {
	GroupInput
	Body api.EgressChange
}

func (in setEgressInput) scopes(*cloud.State) []cloud.Scope {
	return []cloud.Scope{{Group: in.Group, App: in.Body.App}}
}

func (h *Handler) serveEgress() {
	get(h, operation("egress", "GET /v1/groups/{group}/egress", "Show what containers of a group or app may reach outside"),
		func(ctx context.Context, in *egressInput) (api.Egress, error) {
			s := h.view(ctx).State
			if err := mustGroup(s, in.Group); err != nil {
				return api.Egress{}, err
			}
			if in.App != "" {
				if _, err := s.MustApp(cloud.AppRef{Group: in.Group, App: in.App}); err != nil {
					return api.Egress{}, err
				}
			}
			return egressOf(s, in.Group, in.App), nil
		})
	get(h, operation("set-egress", "POST /v1/groups/{group}/egress", "Change what containers of a group or app may reach outside"),
		func(ctx context.Context, in *setEgressInput) (api.Egress, error) {
			object, n := "group "+string(in.Group), 0
			if in.Body.App != "" {
				object = cloud.AppRef{Group: in.Group, App: in.Body.App}.String()
			}
			_, err := h.update(ctx, "egress", object, &n, func(s *cloud.State) ([]cloud.Change, error) {
				return s.SetEgress(in.Group, in.Body.App, cloud.EgressChange{Open: in.Body.Open, Allow: in.Body.Allow, Forbid: in.Body.Forbid})
			})
			if err != nil {
				return api.Egress{}, err
			}
			return egressOf(h.Store.State(), in.Group, in.Body.App), nil
		})
}

func egressOf(s *cloud.State, g cloud.GroupName, app cloud.AppName) api.Egress {
	out := api.Egress{Group: g, App: app, Allowed: []string{}}
	e, ok := s.EgressOf(cloud.AppRef{Group: g, App: app})
	if ok {
		out.Closed, out.Allowed = true, e.Allowed
		out.Inherit = app != "" && e.App == ""
	}
	return out
}
