package cloud

import "slices"

// serves says whether a target of a route takes requests: it has a share of them, and its release runs a
// web process.
func (s *State) serves(t Target) bool {
	if t.Weighted && t.Weight == 0 {
		return false
	}
	rel, ok := s.Release(t.ReleaseRef)
	return ok && s.Runs(rel) && rel.Formation[Web].Instances > 0
}

func (s *State) answers(r Route) bool { return slices.ContainsFunc(r.Targets, s.serves) }

// silenced returns a path of a host that answers now and would answer 503 after the changes, and one of the
// targets that do not run there.
func (s *State) silenced(h Host, changes []Change) (path string, target ReleaseRef, ok bool) {
	before, known := s.VirtualHost(h)
	if !known || !slices.ContainsFunc(before.Routes, s.answers) {
		return "", ReleaseRef{}, false
	}
	next := s.Apply(s.rev+1, changes)
	after, known := next.VirtualHost(h)
	if !known || len(after.Routes) == 0 {
		return "/", ReleaseRef{}, true
	}
	for _, r := range after.Routes {
		// A path that does not answer as it is loses nothing.
		if old, same := before.Route(r.Path); next.answers(r) || same && !s.answers(*old) {
			continue
		}
		if len(r.Targets) > 0 {
			target = r.Targets[0].ReleaseRef
		}
		return r.Path, target, true
	}
	return "", ReleaseRef{}, false
}

// notRunning is the error of a change after which a host would route to a target that does not run.
func (s *State) notRunning(target ReleaseRef, h Host, path string) error {
	e := Errorf(Conflict, "%s does not run: %s would answer 503", target, hostPath(h, path))
	rel, ok := s.Release(target)
	switch {
	case !ok:
		return e.WithCommand("micro releases %s", target.AppRef)
	case rel.Stopped:
		return e.WithCommand("micro start %s", target)
	}
	return e.WithCommand("micro scale %s -i 1", target)
}

// checkPublic reports changes after which a public host that routes to the app would not answer any more. It
// is for a person to say yes to that.
func (s *State) checkPublic(app AppRef, changes []Change) *Error {
	for vhost := range s.HostsOf(app) {
		if vhost.Exposure != ExposedPublic {
			continue
		}
		if path, _, ok := s.silenced(vhost.Host, changes); ok {
			return Errorf(Conflict, "nothing else serves the public host %s, which would answer 503", hostPath(vhost.Host, path))
		}
	}
	return nil
}

// checkOverlap reports a host that would route to two releases of an app at once, one of which must not serve
// beside another. One that does so already may be changed.
func (s *State) checkOverlap(next *VirtualHost) error {
	a, b, ok := s.sideBySide(next)
	if !ok {
		return nil
	}
	if before, known := s.VirtualHost(next.Host); known {
		if _, _, already := s.sideBySide(before); already {
			return nil
		}
	}
	to := b
	if to.N == 0 {
		to = a
	}
	return Errorf(Conflict, "%s and %s must not serve side by side (overlap: false)", a, b).WithCommand("micro cutover %s --to %s", next.Host, to)
}

// sideBySide returns two targets of a host that are of one app, if a release of that must not serve beside
// another. A cross-fade is left out: it began where it was allowed.
func (s *State) sideBySide(vhost *VirtualHost) (a, b ReleaseRef, ok bool) {
	targets := map[AppRef][]ReleaseRef{}
	alone := map[AppRef]bool{}
	for _, route := range vhost.Routes {
		if route.Crossfade != nil {
			continue
		}
		add := func(ref ReleaseRef) {
			if slices.Contains(targets[ref.AppRef], ref) {
				return
			}
			targets[ref.AppRef] = append(targets[ref.AppRef], ref)
			if rel, ok := s.Release(ref); ok && !rel.Spec.Overlap {
				alone[ref.AppRef] = true
			}
		}
		for _, t := range route.Targets {
			if !t.Weighted || t.Weight > 0 {
				add(t.ReleaseRef)
			}
		}
		for _, rule := range route.Rules {
			add(rule.To)
		}
	}
	for app, refs := range targets {
		if alone[app] && len(refs) > 1 && (!ok || refs[0].String() < a.String()) { // not by the map's order
			a, b, ok = refs[0], refs[1], true
		}
	}
	return a, b, ok
}

// hostPath is a host with a path, which is left out where it is the root.
func hostPath(h Host, path string) string {
	if path == "/" {
		return string(h)
	}
	return string(h) + path
}
