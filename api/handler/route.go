package handler

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (h *Handler) serveRoutes() {
	get(h, operation("routes", "GET /v1/groups/{group}/routes", "List routes: the apps' own addresses, then the mapped hosts"),
		func(ctx context.Context, in *struct {
			GroupInput
			Paging
		}) (api.List[api.Route], error) {
			v := h.view(ctx)
			if err := mustGroup(v.State, in.Group); err != nil {
				return api.List[api.Route]{}, err
			}
			sees := h.sees(ctx)
			visible := filter(h.routes(v, in.Group), func(r route) bool { return r.seenBy(sees) })
			return page(visible, in.Paging, routeKey, func(r route) api.Route { return h.route(v, r) }), nil
		})
	mapping(h, "map", "Route a path of a host to an app or release",
		func(s *cloud.State, g cloud.GroupName, m api.Mapping, at cloud.Stamp) ([]cloud.Change, string, error) {
			host, path, err := readRoute(m.Host, m.Path)
			if err != nil {
				return nil, "", err
			}
			target := cloud.Target{ReleaseRef: cloud.AppRef{Group: g, App: m.App}.Release(m.Release)}
			if m.Weight != nil {
				target.Weighted, target.Weight = true, *m.Weight
			}
			mapped := cloud.Map{Host: host, Path: path, Target: target, Public: m.Public, Headers: m.Headers, Limits: m.Limits, Force: m.Force}
			mapped.Passthrough, mapped.ProxyProtocol = m.Passthrough, m.ProxyProtocol
			if err := h.checkPort(s, host, m.Public); err != nil {
				return nil, "", err
			}
			mapped.TLS = cloud.HostTLSChange{Only: m.HTTPSOnly, ClientCA: m.ClientCA}
			mapped.Login = cloud.HostLoginChange{Required: m.Login, Group: m.LoginOf}
			if m.HSTS != "" {
				seconds, err := cloud.ParseHSTS(m.HSTS)
				if err != nil {
					return nil, "", err
				}
				mapped.TLS.HSTS = &seconds
			}
			if m.Sticky != "" {
				if mapped.Sticky, err = cloud.ParseSticky(m.Sticky); err != nil {
					return nil, "", err
				}
			}
			changes, err := s.Map(mapped, at)
			return changes, hostPath(host, path), err
		})
	mapping(h, "unmap", "Take a target from a route, or give a host up",
		func(s *cloud.State, g cloud.GroupName, u api.Unmapping, _ cloud.Stamp) ([]cloud.Change, string, error) {
			host, path, err := readRoute(u.Host, u.Path)
			if err == nil {
				err = owned(s, g, host)
			}
			if err != nil {
				return nil, "", err
			}
			if u.ReleaseHost {
				changes, err := s.ReleaseHost(host, u.Force)
				return changes, string(host), err
			}
			changes, err := s.Unmap(host, path, cloud.AppRef{Group: g, App: u.App}.Release(u.Release), u.Force)
			return changes, hostPath(host, path), err
		})
	mapping(h, "traffic", "Replace all weights of a route in one step",
		func(s *cloud.State, g cloud.GroupName, w api.Weights, _ cloud.Stamp) ([]cloud.Change, string, error) {
			host, path, err := readRoute(w.Host, w.Path)
			if err == nil {
				err = owned(s, g, host)
			}
			if err != nil {
				return nil, "", err
			}
			if len(w.Targets) == 0 && w.Mirror == nil && w.Rule == nil {
				return nil, "", cloud.Errorf(cloud.Invalid, "neither weights, nor a rule or a mirror are given").WithCommand("micro traffic %s shop@r6=95 shop@r7=5", host)
			}
			weights := map[cloud.ReleaseRef]int{}
			for _, t := range w.Targets {
				ref := cloud.AppRef{Group: g, App: t.App}.Release(t.Release)
				if _, twice := weights[ref]; twice {
					return nil, "", cloud.Errorf(cloud.Invalid, "%s is named twice", ref)
				}
				weights[ref] = t.Weight
			}
			var changes []cloud.Change
			if len(weights) > 0 {
				if changes, err = s.Traffic(host, path, weights); err != nil {
					return nil, "", err
				}
			}
			// One on top of the other: all change the same route.
			if w.Rule != nil {
				more, err := changeRule(s.Apply(s.Rev()+1, changes), g, host, path, *w.Rule)
				if err != nil {
					return nil, "", err
				}
				changes = append(changes, more...)
			}
			if m := w.Mirror; m != nil {
				more, err := s.Apply(s.Rev()+1, changes).SetMirror(host, path, cloud.AppRef{Group: g, App: m.App}.Release(m.Release), m.Percent)
				if err != nil {
					return nil, "", err
				}
				changes = append(changes, more...)
			}
			return changes, hostPath(host, path), nil
		})
	mapping(h, "swap", "Exchange the routes of two hosts",
		func(s *cloud.State, g cloud.GroupName, w api.Swap, _ cloud.Stamp) ([]cloud.Change, string, error) {
			a, _, err := readRoute(w.A, "")
			if err != nil {
				return nil, "", err
			}
			b, _, err := readRoute(w.B, "")
			if err == nil {
				err = owned(s, g, a)
			}
			if err == nil {
				err = owned(s, g, b)
			}
			if err != nil {
				return nil, "", err
			}
			changes, err := s.Swap(a, b, w.Force)
			return changes, fmt.Sprintf("%s %s", a, b), err
		})
}

// changeRule returns the changes that add a rule to a route or end one.
func changeRule(s *cloud.State, g cloud.GroupName, host cloud.Host, path string, r api.NewRule) ([]cloud.Change, error) {
	when, err := cloud.ParseCondition(r.When)
	if err != nil {
		return nil, err
	}
	if r.End {
		return s.DropRule(host, path, when)
	}
	return s.SetRule(host, path, cloud.Rule{When: when, To: cloud.AppRef{Group: g, App: r.App}.Release(r.Release)})
}

// mapping registers a write about routes; do returns the changes and what they are about. It is asked
// twice: what it is about must be known before the transaction.
func mapping[T any](h *Handler, name, summary string, do func(*cloud.State, cloud.GroupName, T, cloud.Stamp) ([]cloud.Change, string, error)) {
	get(h, operation(name, "POST /v1/groups/{group}/routes/"+name, summary),
		func(ctx context.Context, in *hostInput[T]) (api.Changed, error) {
			at, by := h.stamp(ctx), requestOf(ctx).actor
			state := h.Store.State()
			if err := mustGroup(state, in.Group); err != nil {
				return api.Changed{}, err
			}
			_, object, err := do(state, in.Group, in.Body, at)
			if err != nil {
				return api.Changed{}, err
			}
			n := 0
			var before *cloud.State
			var changes []cloud.Change
			changed, err := h.update(ctx, name, object, &n, func(s *cloud.State) (_ []cloud.Change, err error) {
				before = s
				if fade, ok := any(in.Body).(api.Crossfading); ok {
					_, plan := readFade(fade)
					if err := s.MayFade(by, plan); err != nil {
						return nil, err
					}
				}
				changes, _, err = do(s, in.Group, in.Body, at)
				changes = s.LimitFades(by, changes)
				return changes, err
			})
			if err != nil {
				return changed, err
			}
			v := h.view(ctx)
			if changed.Routes = h.changedRoutes(v, before, changes); len(changed.Routes) == 0 {
				changed.Routes = h.namedRoutes(v, object)
			}
			return changed, nil
		})
}

// changedRoutes shows the routes that a write changed.
func (h *Handler) changedRoutes(v cloud.View, before *cloud.State, changes []cloud.Change) (routes []api.Route) {
	for _, c := range changes {
		vhost, ok := c.Object.(*cloud.VirtualHost)
		if !ok {
			continue
		}
		old, known := before.VirtualHost(vhost.Host)
		if !known {
			old = &cloud.VirtualHost{}
		}
		if len(vhost.Routes) == 0 {
			routes = append(routes, h.route(v, route{vhost: vhost}))
		}
		for i, r := range vhost.Routes {
			if was, ok := old.Route(r.Path); !ok || old.Exposure != vhost.Exposure || !reflect.DeepEqual(old.TLS, vhost.TLS) || !reflect.DeepEqual(old.Login, vhost.Login) || !reflect.DeepEqual(*was, r) {
				routes = append(routes, h.route(v, route{vhost: vhost, index: i}))
			}
		}
	}
	return routes
}

// namedRoutes shows the routes that a write is about, which were as it wants them already.
func (h *Handler) namedRoutes(v cloud.View, object string) (routes []api.Route) {
	for name := range strings.FieldsSeq(object) {
		host, path, err := readRoute(cutPath(name))
		if err != nil {
			continue
		}
		vhost, ok := v.State.VirtualHost(host)
		if !ok {
			continue
		}
		for i, r := range vhost.Routes {
			if r.Path == path {
				routes = append(routes, h.route(v, route{vhost: vhost, index: i}))
			}
		}
	}
	return routes
}

// cutPath parts "www.example.com/api" into host and path.
func cutPath(name string) (host, path string) {
	host, path, _ = strings.Cut(name, "/")
	return host, "/" + path
}

// readRoute reads a host and path as people write them.
func readRoute(host, path string) (cloud.Host, string, error) {
	name, err := cloud.ParseRouteHost(host)
	if err != nil {
		return "", "", err
	}
	p, err := cloud.ParsePath(path)
	if err != nil {
		return "", "", err
	}
	return name, p, nil
}

// owned says that a host of another group's is not there.
func owned(s *cloud.State, g cloud.GroupName, host cloud.Host) error {
	if vhost, ok := s.VirtualHost(host); !ok || vhost.Group != g {
		return cloud.Errorf(cloud.NotFound, "no host %q is mapped", host).WithCommand("micro routes")
	}
	return nil
}

// route is an address of an app or release, or a route of a mapped host.
type route struct {
	app     *cloud.App     // its own address
	release *cloud.Release // its own address
	vhost   *cloud.VirtualHost
	index   int // of the vhost's routes
}

// seenBy reports whether a caller who sees some apps alone sees the route: one to the apps that are seen.
func (r route) seenBy(sees func(cloud.AppRef) bool) bool {
	switch {
	case r.vhost != nil:
		return !slices.ContainsFunc(slices.Collect(r.vhost.Apps()), func(app cloud.AppRef) bool { return !sees(app) })
	case r.release != nil:
		return sees(r.release.AppRef)
	}
	return sees(r.app.AppRef)
}

// routeKey sorts own addresses before mapped hosts.
func routeKey(r route) string {
	switch {
	case r.vhost != nil:
		return fmt.Sprintf("s/%s/%04d", r.vhost.Host, r.index)
	case r.release != nil:
		return fmt.Sprintf("a/%s/%08d", r.release.App, r.release.N)
	}
	return fmt.Sprintf("a/%s/", r.app.App)
}

func (h *Handler) routes(v cloud.View, g cloud.GroupName) iter.Seq[route] {
	return func(yield func(route) bool) {
		for app := range v.State.Apps(g) {
			if app.Service != nil {
				continue
			}
			if !yield(route{app: app}) {
				return
			}
			for rel := range v.State.Releases(app.AppRef) {
				if v.State.Runs(rel) && !yield(route{release: rel}) {
					return
				}
			}
		}
		for vhost := range v.State.VirtualHosts() {
			if vhost.Group != g {
				continue
			}
			for i := range max(1, len(vhost.Routes)) {
				if !yield(route{vhost: vhost, index: i}) {
					return
				}
			}
		}
	}
}

func (h *Handler) route(v cloud.View, r route) api.Route {
	domain := h.Domain
	own := func(host cloud.Host, ref cloud.ReleaseRef) api.Route {
		return api.Route{
			Host: host, Path: "/", Group: ref.Group, Exposure: cloud.ExposedInternal, Own: true,
			Targets: []api.Target{h.target(v, cloud.Target{ReleaseRef: ref})}, Addresses: h.URLs(host),
		}
	}
	switch {
	case r.release != nil:
		return own(domain.Release(r.release.ReleaseRef, r.release.Created), r.release.ReleaseRef)
	case r.app != nil:
		return own(domain.App(r.app.AppRef), r.app.Release(0))
	}
	out := api.Route{Host: r.vhost.Host, Unicode: r.vhost.Host.Unicode(), Path: "/", Group: r.vhost.Group, Exposure: r.vhost.Exposure, Targets: []api.Target{}, Addresses: []string{}}
	if t := r.vhost.TLS; t != nil {
		out.HTTPSOnly, out.ClientCA = t.Only, t.ClientCA
		if t.HSTS > 0 {
			out.HSTS = (time.Duration(t.HSTS) * time.Second).String()
		}
	}
	if l := r.vhost.Login; l != nil {
		out.Login = l.Group
	}
	if fault := h.portFault(r.vhost.Host); fault != nil {
		out.Fault = fault.Error()
	}
	if len(r.vhost.Routes) == 0 {
		return out // kept by its owner, answers 503
	}
	route := r.vhost.Routes[r.index]
	out.Passthrough, out.ProxyProtocol = r.vhost.Passthrough, route.ProxyProtocol
	out.Path, out.Crossfade = route.Path, api.CrossfadeOf(route.Crossfade)
	if s := route.Sticky; s != nil {
		out.Sticky = &api.Sticky{By: s.By, Header: s.Header}
	}
	for _, rule := range route.Rules {
		out.Rules = append(out.Rules, api.Rule{When: rule.When.String(), ReleaseName: api.NameOf(rule.To)})
	}
	if m := route.Mirror; m != nil {
		out.Mirror = &api.Mirror{ReleaseName: api.NameOf(m.To), Percent: m.Percent}
	}
	out.Limits = route.Limits.Texts()
	for _, t := range route.Targets {
		out.Targets = append(out.Targets, h.target(v, t))
	}
	urls := h.URLs
	if r.vhost.Exposure == cloud.ExposedPublic && h.PublicURLs != nil {
		urls = h.PublicURLs
	}
	for _, u := range urls(r.vhost.Host) {
		if route.Path != "/" {
			u += route.Path
		}
		out.Addresses = append(out.Addresses, u)
	}
	return out
}

func (h *Handler) target(v cloud.View, t cloud.Target) api.Target {
	out := api.Target{Group: t.Group, App: t.App, Release: t.N}
	if t.Weighted {
		out.Weight = &t.Weight
	}
	ref := t.ReleaseRef
	if ref.N == 0 {
		ref.N = current(v.State, ref)
	}
	out.Ready = len(v.Pool(ref))
	return out
}
