package cloud

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Map is a host and path to route to a target.
type Map struct {
	Host   Host
	Path   string
	Target Target
	Public bool
	// Sticky says how clients are kept with their release; nil leaves it, By "" ends it.
	Sticky *Sticky
	// Headers says whether answers name their release and instance; nil leaves it.
	Headers *bool
	// ProxyProtocol and Passthrough say how bytes are passed on; nil leaves it.
	ProxyProtocol, Passthrough *bool
	// Limits are set by name; those that are not named stay as they are.
	Limits map[string]string
	// TLS changes how the host wants to be asked.
	TLS HostTLSChange
	// Login changes who must log in to see the host.
	Login HostLoginChange
	Force bool // also to a release that was superseded
}

// Map returns the changes that add a target to a route, which is made where it is new. A host belongs
// to the group that mapped it first.
func (s *State) Map(m Map, at Stamp) ([]Change, error) {
	app, err := s.MustApp(m.Target.AppRef)
	if err != nil {
		return nil, err
	}
	if err := s.checkHost(m.Host); err != nil {
		return nil, err
	}
	rel, err := s.checkTarget(m.Target.ReleaseRef)
	if err != nil {
		return nil, err
	}
	if rel != nil {
		if newer := s.supersededBy(rel); newer != nil && !m.Force {
			return nil, Errorf(Conflict, "release %s has been superseded by %s", rel.ReleaseRef, newer.ReleaseRef).WithCommand("micro map %s %s --yes", rel.ReleaseRef, m.Host)
		}
	}
	if m.Target.Weight < 0 || m.Target.Weight > 100 {
		return nil, Errorf(Invalid, "weight %d is not between 0 and 100 percent", m.Target.Weight).WithCommand("micro map %s %s --weight 10", m.Target.ReleaseRef, m.Host)
	}
	vhost, ok := s.VirtualHost(m.Host)
	switch {
	case !ok:
		vhost = &VirtualHost{Host: m.Host, Group: app.Group, Exposure: ExposedInternal, Created: at.At}
	case vhost.Group != app.Group:
		return nil, Errorf(Conflict, "host %s belongs to another group", m.Host).WithCommand("micro routes")
	}
	route := Route{Path: m.Path}
	if r, ok := vhost.Route(m.Path); ok {
		route = *r
	}
	if route.Crossfade != nil {
		return nil, crossfading(m.Host, m.Path, route.Crossfade)
	}
	if route.Targets, err = route.join(m.Target); err != nil {
		return nil, Errorf(Conflict, "%s%s: %w", m.Host, m.Path, err).WithCommand("micro traffic %s %s=WEIGHT …", m.Host, m.Target.ReleaseRef)
	}
	switch {
	case m.Sticky != nil && m.Sticky.By == "":
		route.Sticky = nil
	case m.Sticky != nil:
		route.Sticky = m.Sticky
	}
	route.Headers = or(m.Headers, route.Headers)
	route.ProxyProtocol = or(m.ProxyProtocol, route.ProxyProtocol)
	if route.Limits, err = route.Limits.WithTexts(m.Limits, true); err != nil {
		return nil, err
	}
	next := vhost.With(route)
	if m.Public {
		next.Exposure = ExposedPublic
	}
	if next.TLS, err = next.TLS.change(m.TLS); err != nil {
		return nil, err
	}
	if next.Login, err = s.changeLogin(next, m.Login); err != nil {
		return nil, err
	}
	next.Passthrough = or(m.Passthrough, next.Passthrough)
	if err := next.checkBytes(); err != nil {
		return nil, err
	}
	if err := s.checkOverlap(next); err != nil {
		return nil, err
	}
	if ok && reflect.DeepEqual(next, vhost) {
		return nil, nil
	}
	return []Change{Put(next)}, nil
}

// checkTarget returns a release that a route is to name, nil for whatever is current, or an error for
// one that could not serve.
func (s *State) checkTarget(r ReleaseRef) (*Release, error) {
	if err := s.notService(r.AppRef); err != nil {
		return nil, err
	}
	if _, err := s.MustApp(r.AppRef); err != nil || r.N == 0 {
		return nil, err
	}
	app, rel, err := s.MustRelease(r)
	switch {
	case err != nil:
		return nil, err
	case rel.Failure != nil:
		return nil, failed(rel)
	case rel.Pruned:
		return nil, imageless(rel)
	case rel.Stopped:
		return nil, Errorf(Conflict, "release %s is stopped", r).WithCommand("micro start %s", r)
	case r.N != app.Current && !app.switchesTo(r.N):
		return rel, s.oneWriter(rel, true)
	}
	return rel, nil
}

// join returns the targets with t among them. Its weight is percent, and the others keep their ratio.
func (r Route) join(t Target) ([]Target, error) {
	others := slices.DeleteFunc(slices.Clone(r.Targets), func(o Target) bool { return o.ReleaseRef == t.ReleaseRef })
	sum, weighted := 0, 0
	for _, o := range others {
		if o.Weighted {
			weighted++
			sum += o.Weight
		}
	}
	all := len(others) > 0 && weighted == len(others)
	switch {
	case t.Weighted && len(others) == 0 && t.Weight == 0:
		return nil, Errorf(Conflict, "with a weight of 0 nothing would answer")
	case t.Weighted && all && sum == 0:
		t.Weight = max(1, t.Weight) // it has all
	case t.Weighted && all:
		// Weights are relative where every target has one.
		divisor := t.Weight * sum
		for i := range others {
			others[i].Weight *= 100 - t.Weight
			divisor = gcd(divisor, others[i].Weight)
		}
		t.Weight = t.Weight * sum / divisor
		for i := range others {
			others[i].Weight /= divisor
		}
		t.Weight, others = limitWeights(t.Weight, others)
	case t.Weighted && sum+t.Weight > 100:
		return nil, Errorf(Conflict, "the other targets already have %d%%", sum)
	case !t.Weighted && all && (weighted > 1 || sum >= 100):
		return nil, Errorf(Conflict, "all targets have weights: %s needs one too", t.ReleaseRef)
	}
	return append(others, t), nil
}

// maxWeight is the largest weight of a target.
const maxWeight = 1_000_000

// limitWeights brings weights that have come to be larger than maxWeight down to it, in about their ratio.
// None becomes 0.
func limitWeights(weight int, others []Target) (int, []Target) {
	most := weight
	for _, o := range others {
		most = max(most, o.Weight)
	}
	if most <= maxWeight {
		return weight, others
	}
	limit := func(w int) int { return max(min(w, 1), (w*maxWeight+most/2)/most) }
	for i := range others {
		others[i].Weight = limit(others[i].Weight)
	}
	return limit(weight), others
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// crossfading reports a cross-fade that is in the way of another change, and how to get out of it.
func crossfading(h Host, path string, f *Crossfade) error {
	what := fmt.Sprintf("since %s, begun by %s", f.Started.UTC().Format("2006-01-02 15:04 MST"), f.By)
	if f.Paused {
		what += fmt.Sprintf(", paused by %s", f.MovedBy)
	}
	return Errorf(Conflict, "%s%s is being cross-faded to %s (%s)", h, path, f.To, what).WithCommand("micro crossfade abort %s", h)
}

// mapSpec maps an app to the routes of its manifest, as far as it is not already.
func (s *State) mapSpec(app AppRef, routes []RouteSpec, at Stamp) ([]Change, error) {
	vhosts := map[Host]*VirtualHost{}
	for _, d := range routes {
		if host, err := ParseRouteHost(string(d.Host)); err != nil || host != d.Host {
			return nil, Errorf(Invalid, "route %q: %q is not a host name in lower case", string(d.Host)+d.Path, d.Host).WithHint("write it like www.example.com/path")
		}
		if path, err := ParsePath(d.Path); err != nil || path != d.Path {
			return nil, Errorf(Invalid, "route %q: %q is not a clean path", string(d.Host)+d.Path, d.Path).WithHint("write it like www.example.com/path")
		}
		if err := d.Limits.checkRoute(); err != nil {
			return nil, Errorf(Invalid, "route %q: %w", string(d.Host)+d.Path, err).WithHintOf(err)
		}
		vhost, ok := vhosts[d.Host]
		if !ok {
			vhost, ok = s.VirtualHost(d.Host)
		}
		switch {
		case !ok:
			vhost = &VirtualHost{Host: d.Host, Group: app.Group, Exposure: ExposedInternal, Created: at.At}
		case vhost.Group != app.Group:
			return nil, Errorf(Conflict, "host %s belongs to another group", d.Host).WithHint("choose another host in the manifest")
		}
		route := Route{Path: d.Path, Sticky: d.Sticky}
		if r, ok := vhost.Route(d.Path); ok {
			route = *r
		}
		if !slices.ContainsFunc(route.Targets, func(t Target) bool { return t.AppRef == app }) {
			if err := route.notFading(d.Host); err != nil {
				return nil, err
			}
			route.Targets = append(slices.Clone(route.Targets), Target{ReleaseRef: app.Release(0)})
		}
		route.Limits = d.Limits.Or(route.Limits)
		next := vhost.With(route)
		if d.Public {
			next.Exposure = ExposedPublic
		}
		if err := next.checkBytes(); err != nil {
			return nil, err
		}
		vhosts[d.Host] = next
	}
	var changes []Change
	for _, h := range sortedKeys(vhosts) {
		changes = append(changes, Put(vhosts[h]))
	}
	return changes, nil
}

// unmapAll returns the changes that take an app out of the routes that follow its current release; one
// that is being cross-faded stays. Its hosts stay its group's.
func (s *State) unmapAll(app AppRef) []Change {
	var changes []Change
	follows := func(t Target) bool { return t.ReleaseRef == app.Release(0) }
	for vhost := range s.HostsOf(app) {
		next := vhost
		for _, r := range vhost.Routes {
			if r.Crossfade != nil || !slices.ContainsFunc(r.Targets, follows) {
				continue
			}
			r.Targets = slices.DeleteFunc(slices.Clone(r.Targets), follows)
			if next = next.Without(r.Path); len(r.Targets) > 0 {
				next = next.With(r)
			}
		}
		if next != vhost {
			changes = append(changes, Put(next))
		}
	}
	return changes
}

// Unmap returns the changes that take a target from a route. Taking the last one needs force: the host
// then answers 503 until something is mapped to it.
func (s *State) Unmap(h Host, path string, target ReleaseRef, force bool) ([]Change, error) {
	vhost, err := s.mustVirtualHost(h)
	if err != nil {
		return nil, err
	}
	route, ok := vhost.Route(path)
	if !ok || len(route.Targets) == 0 {
		return nil, Errorf(NotFound, "%s%s does not route to %s", h, path, target).WithCommand("micro routes")
	}
	if !slices.ContainsFunc(route.Targets, func(t Target) bool { return t.ReleaseRef == target }) {
		other := route.Targets[0].ReleaseRef
		return nil, Errorf(NotFound, "%s%s does not route to %s, but to %s", h, path, target, other).WithCommand("micro unmap %s %s%s", other, h, strings.TrimSuffix(path, "/"))
	}
	next := *route
	next.Targets = slices.DeleteFunc(slices.Clone(route.Targets), func(t Target) bool { return t.ReleaseRef == target })
	if f := next.Crossfade; f != nil && (f.From == target || f.To == target) {
		return nil, crossfading(h, path, route.Crossfade)
	}
	serves := func(t Target) bool { return !t.Weighted || t.Weight > 0 }
	if !slices.ContainsFunc(next.Targets, serves) && !force {
		if h.Port() > 0 {
			return nil, Errorf(Conflict, "%s is the last target of %s, which would take no more connections", target, h).WithCommand("micro unmap %s %s --yes", target, h)
		}
		return nil, Errorf(Conflict, "%s is the last target of %s%s, which would answer 503", target, h, path).WithCommand("micro unmap %s %s%s --yes", target, h, path)
	}
	if len(next.Targets) > 0 {
		return []Change{Put(vhost.With(next))}, nil
	}
	return []Change{Put(vhost.Without(path))}, nil
}

// ReleaseHost gives a host up: it is unknown afterwards. Where it still has targets that needs force.
func (s *State) ReleaseHost(h Host, force bool) ([]Change, error) {
	vhost, err := s.mustVirtualHost(h)
	if err != nil {
		return nil, err
	}
	for _, r := range vhost.Routes {
		if len(r.Targets) > 0 && !force {
			return nil, Errorf(Conflict, "%s%s still routes to %s, and would be unknown", h, strings.TrimSuffix(r.Path, "/"), r.Targets[0].ReleaseRef).WithCommand("micro unmap %s --release-host --yes", h)
		}
	}
	return []Change{Delete(vhost)}, nil
}

// Traffic returns the changes that replace all weights of a route in one step. Every target must be named.
func (s *State) Traffic(h Host, path string, weights map[ReleaseRef]int) ([]Change, error) {
	vhost, route, err := s.mustRoute(h, path)
	if err != nil {
		return nil, err
	}
	if route.Crossfade != nil {
		return nil, crossfading(h, path, route.Crossfade)
	}
	sum := 0
	next := *route
	next.Targets = nil
	for _, ref := range sortedRefs(weights) {
		w := weights[ref]
		if w < 0 || w > maxWeight {
			return nil, Errorf(Invalid, "weight %d of %s is not between 0 and %d", w, ref, maxWeight).WithCommand("micro traffic %s %s=10 …", h, ref)
		}
		if _, err := s.checkTarget(ref); err != nil {
			return nil, err
		}
		if ref.Group != vhost.Group {
			return nil, Errorf(Conflict, "%s is not of the group that owns %s", ref, h).WithCommand("micro routes")
		}
		sum += w
		next.Targets = append(next.Targets, Target{ReleaseRef: ref, Weighted: true, Weight: w})
	}
	if sum == 0 {
		return nil, Errorf(Invalid, "all weights of %s%s are 0: nothing would answer", h, path).WithCommand("micro routes")
	}
	changed := vhost.With(next)
	if err := s.checkOverlap(changed); err != nil {
		return nil, err
	}
	changes := []Change{Put(changed)}
	if path, stopped, ok := s.silenced(h, changes); ok {
		return nil, s.notRunning(stopped, h, path)
	}
	return changes, nil
}

// Swap returns the changes that exchange the routes of two hosts; owner and exposure stay. A host that
// answers and would route to a release that does not run needs force.
func (s *State) Swap(a, b Host, force bool) ([]Change, error) {
	x, err := s.mustVirtualHost(a)
	if err != nil {
		return nil, err
	}
	y, err := s.mustVirtualHost(b)
	if err != nil {
		return nil, err
	}
	if a == b || x.Group != y.Group {
		return nil, Errorf(Invalid, "%s and %s can't be swapped: two hosts of one group are needed", a, b).WithCommand("micro routes")
	}
	for _, vhost := range []*VirtualHost{x, y} {
		for _, route := range vhost.Routes {
			if err := route.notFading(vhost.Host); err != nil {
				return nil, err
			}
		}
	}
	nx, ny := *x, *y
	nx.Routes, ny.Routes = y.Routes, x.Routes
	if err := errors.Join(nx.checkBytes(), ny.checkBytes()); err != nil {
		return nil, err
	}
	changes := []Change{Put(&nx), Put(&ny)}
	for _, h := range []Host{a, b} {
		path, stopped, ok := s.silenced(h, changes)
		switch {
		case !ok || force:
		case stopped.App == "":
			return nil, Errorf(Conflict, "%s would have no target, and answer 503", h).WithCommand("micro swap %s %s --yes", a, b)
		default:
			return nil, s.notRunning(stopped, h, path)
		}
	}
	return changes, nil
}

func (s *State) mustVirtualHost(h Host) (*VirtualHost, error) {
	vhost, ok := s.VirtualHost(h)
	if !ok {
		return nil, Errorf(NotFound, "no host %q is mapped", h).WithCommand("micro routes")
	}
	return vhost, nil
}

func sortedRefs[V any](m map[ReleaseRef]V) []ReleaseRef {
	refs := make([]ReleaseRef, 0, len(m))
	for r := range m {
		refs = append(refs, r)
	}
	slices.SortFunc(refs, func(a, b ReleaseRef) int {
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
	return refs
}
