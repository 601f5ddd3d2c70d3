package handler

import (
	"context"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (h *Handler) serveLimits() {
	get(h, operation("cloud-limits", "GET /v1/limits", "List the limits of routes that do not set their own, and of connections"),
		func(ctx context.Context, _ *nothing) (api.List[api.Limit], error) {
			return whole(limitsOf(h.view(ctx).State.Settings().Limits, nil)), nil
		})
	get(h, operation("route-limits", "GET /v1/groups/{group}/routes/limits", "List the limits of a route"),
		func(ctx context.Context, in *routeInput) (api.List[api.Limit], error) {
			var none api.List[api.Limit]
			s := h.view(ctx).State
			host, path, err := readRoute(in.Host, in.Path)
			if err == nil {
				err = owned(s, in.Group, host)
			}
			if err != nil {
				return none, err
			}
			vhost, _ := s.VirtualHost(host)
			route, ok := vhost.Route(path)
			if !ok {
				return none, cloud.Errorf(cloud.NotFound, "host %s has no route %s", host, path).WithCommand("micro routes")
			}
			return whole(limitsOf(s.Settings().Limits, &route.Limits)), nil
		})
	get(h, operation("set-cloud-limits", "POST /v1/limits", "Set limits of routes that do not set their own, and of connections"),
		func(ctx context.Context, in *struct{ Body api.NewLimits }) (api.Changed, error) {
			if in.Body.Host != "" {
				return api.Changed{}, cloud.Errorf(cloud.Invalid, "the limits of a host belong to its group").WithCommand("micro limits %s", in.Body.Host)
			}
			n := 0
			return h.update(ctx, "set-limits", "cloud", &n, func(s *cloud.State) ([]cloud.Change, error) { return s.SetLimits(in.Body.Limits) })
		})
	mapping(h, "limits", "Set limits of a route",
		func(s *cloud.State, g cloud.GroupName, l api.NewLimits, _ cloud.Stamp) ([]cloud.Change, string, error) {
			host, path, err := readRoute(l.Host, l.Path)
			if err == nil {
				err = owned(s, g, host)
			}
			if err != nil {
				return nil, "", err
			}
			changes, err := s.SetRouteLimits(host, path, l.Limits)
			return changes, hostPath(host, path), err
		})
}

// limitsOf are the limits in force for a route, or for the cloud where there is none.
func limitsOf(set cloud.Limits, route *cloud.Limits) []api.Limit {
	limits := []api.Limit{}
	for _, k := range cloud.LimitKinds {
		one := api.Limit{Name: k.Name, About: k.About, From: "default", Value: k.Text(cloud.DefaultLimits)}
		if text := k.Text(set); text != "default" {
			one.From, one.Value = "cloud", text
		}
		switch {
		case route != nil && k.Connection:
			continue
		case route != nil && k.Text(*route) != "default":
			one.From, one.Value = "route", k.Text(*route)
		}
		limits = append(limits, one)
	}
	return limits
}
