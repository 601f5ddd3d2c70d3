package cloud

import (
	"maps"
	"slices"
)

// Promote returns the changes that begin to make a release current. Its formation is first raised to
// that of the release it replaces.
func (s *State) Promote(r ReleaseRef, force bool, at Stamp) ([]Change, error) {
	app, rel, err := s.MustRelease(r)
	if err != nil {
		return nil, err
	}
	switch s.PhaseOf(rel) {
	case PhaseFailed:
		return nil, Errorf(Conflict, "release %s failed: %s", rel.ReleaseRef, rel.Failure.Reason).WithHint("micro push --app %s", r.App)
	case PhaseCurrent:
		return nil, Errorf(Conflict, "release %s is current already", rel.ReleaseRef)
	case PhaseStarting, PhaseStaged, PhaseRouted, PhaseWarm, PhaseRetired, PhaseStopped, PhaseSuperseded:
	}
	if newer := s.stagedAfter(rel); newer != nil && !force {
		return nil, Errorf(Conflict, "release %s has been superseded by %s", rel.ReleaseRef, newer.ReleaseRef).WithHint("micro promote %s --yes", rel.ReleaseRef)
	}
	return s.switchTo(app, rel, at), nil
}

// stagedAfter returns a newer staged release of the same app that was derived from r.
func (s *State) stagedAfter(r *Release) *Release {
	for other := range s.Releases(r.AppRef) {
		if other.N > r.N && other.Staged && other.Parent == r.N {
			return other
		}
	}
	return nil
}

func (s *State) switchTo(app *App, rel *Release, at Stamp) []Change {
	target := *rel
	target.Stopped = false
	if cur, ok := s.Release(app.Release(app.Current)); ok && app.Current != 0 {
		target.Formation = rel.Formation.AtLeast(cur.Formation)
	}
	next := *app
	next.Rollout = target.rollout(at)
	return []Change{Put(&next), Put(&target)}
}

// Rollback returns the changes that begin to make an earlier release current again, and its name: n,
// or the one that was current before for 0. It makes no new release, and never goes to one that was
// never up. A switch under way is given up.
func (s *State) Rollback(r AppRef, n int, at Stamp) ([]Change, ReleaseRef, error) {
	app, err := s.MustApp(r)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	if n == 0 {
		for _, h := range slices.Backward(app.History) {
			if rel, ok := s.Release(r.Release(h)); ok && rel.Up && h != app.Current {
				n = h
				break
			}
		}
		if n == 0 {
			return nil, ReleaseRef{}, Errorf(Conflict, "app %s has no release that was current before", r).WithHint("micro releases %s", r)
		}
	}
	_, rel, err := s.MustRelease(r.Release(n))
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	if rel.Failure != nil || !rel.Up {
		return nil, ReleaseRef{}, Errorf(Conflict, "release %s was never up", rel.ReleaseRef).WithHint("micro releases %s", r)
	}
	if app.Current == n {
		return nil, ReleaseRef{}, Errorf(Conflict, "release %s is current already", rel.ReleaseRef).WithHint("micro releases %s", r)
	}
	// Its own formation comes back with it: a roll-back restores all of a release.
	target := *rel
	target.Stopped = false
	next := *app
	next.Rollout = target.rollout(at)
	next.Rollout.Released = true // what it migrated is as it left it
	return []Change{Put(&next), Put(&target)}, rel.ReleaseRef, nil
}

// Env returns the changes that make a release of the one named with another environment, and its name.
// A release derived from a staged one is staged too.
func (s *State) Env(r ReleaseRef, set map[string]string, unset []string, at Stamp) ([]Change, ReleaseRef, error) {
	app, rel, err := s.MustRelease(r)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	spec := rel.Spec
	spec.Env = maps.Clone(rel.Spec.Env)
	if spec.Env == nil {
		spec.Env = map[string]string{}
	}
	for _, k := range unset {
		delete(spec.Env, k)
	}
	maps.Copy(spec.Env, set)
	if err := errorsOf(spec, rel.Formation); err != nil {
		return nil, ReleaseRef{}, err
	}
	changes, next := s.derive(app, rel, spec, rel.Formation, rel.N != app.Current && rel.Staged, "env", at)
	return changes, next.ReleaseRef, nil
}

// Scale returns the changes that alter a release's formation in place. A change of memory or CPU
// replaces its instances, one batch at a time; a change of their number does not.
func (s *State) Scale(r ReleaseRef, want map[ProcessName]DraftProcess) ([]Change, error) {
	_, rel, err := s.MustRelease(r)
	if err != nil {
		return nil, err
	}
	next := *rel
	next.Formation = maps.Clone(rel.Formation)
	for name, p := range want {
		was, ok := rel.Formation[name]
		if !ok {
			return nil, Errorf(NotFound, "release %s has no process %q", rel.ReleaseRef, name).WithHint("it has %v", sortedKeys(rel.Formation))
		}
		now := p.scale(name, rel.Formation)
		if now.Memory != was.Memory || now.CPU != was.CPU {
			next.Generation = rel.Generation + 1
		}
		next.Formation[name] = now
	}
	if err := next.Formation.Validate(); err != nil {
		return nil, err
	}
	if maps.Equal(next.Formation, rel.Formation) {
		return nil, nil
	}
	return []Change{Put(&next)}, nil
}

// Restart returns the changes that replace all instances of a release.
func (s *State) Restart(r ReleaseRef) ([]Change, error) {
	_, rel, err := s.MustRelease(r)
	if err != nil {
		return nil, err
	}
	if !s.Runs(rel) {
		return nil, Errorf(Conflict, "release %s does not run", rel.ReleaseRef).WithHint("micro start %s", rel.ReleaseRef)
	}
	next := *rel
	next.Generation++
	return []Change{Put(&next)}, nil
}

// Stop returns the changes that end all instances of a release; for an app without a number also those
// of a switch under way and of releases kept warm.
func (s *State) Stop(r ReleaseRef) ([]Change, error) {
	app, rel, err := s.MustRelease(r)
	if err != nil && (app == nil || r.N != 0) {
		return nil, err
	}
	var changes []Change
	for other := range s.Releases(r.AppRef) {
		chosen := rel != nil && other.N == rel.N
		if r.N == 0 && (other.Warm != nil || app.Rollout != nil && app.Rollout.To == other.N) {
			chosen = true
		}
		if chosen && !other.Stopped {
			next := *other
			next.Stopped, next.Warm = true, nil
			changes = append(changes, Put(&next))
		}
	}
	if app.Rollout != nil && (r.N == 0 || r.N == app.Rollout.To) {
		next := *app
		next.Rollout = nil
		changes = append(changes, Put(&next))
	}
	return changes, nil
}

// Start returns the changes that let a stopped release run again; one that nothing leads to is staged.
func (s *State) Start(r ReleaseRef) ([]Change, error) {
	app, rel, err := s.MustRelease(r)
	if err != nil {
		return nil, err
	}
	if rel.Failure != nil {
		return nil, Errorf(Conflict, "release %s failed: %s", rel.ReleaseRef, rel.Failure.Reason).WithHint("micro push --app %s", r.App)
	}
	next := *rel
	next.Stopped = false
	if rel.N != app.Current && !s.routed(rel.ReleaseRef) {
		next.Staged = true
	}
	if !rel.Stopped && s.Runs(rel) {
		return nil, nil
	}
	return []Change{Put(&next)}, nil
}

// Delete returns the changes that remove an app with all its releases and the routes to it, or one
// release that neither serves nor is routed to. Hosts stay with their owner.
func (s *State) Delete(r ReleaseRef) ([]Change, error) {
	app, err := s.MustApp(r.AppRef)
	if err != nil {
		return nil, err
	}
	if r.N != 0 {
		_, rel, err := s.MustRelease(r)
		if err != nil {
			return nil, err
		}
		switch p := s.PhaseOf(rel); {
		case p == PhaseCurrent || app.Current == r.N:
			return nil, Errorf(Conflict, "release %s is current", rel.ReleaseRef).WithHint("micro rollback %s, or micro delete %s for the whole app", r.AppRef, r.AppRef)
		case s.routed(rel.ReleaseRef):
			return nil, Errorf(Conflict, "release %s has routes", rel.ReleaseRef).WithHint("micro routes")
		case app.Rollout != nil && app.Rollout.To == r.N:
			return nil, Errorf(Conflict, "release %s is being switched to", rel.ReleaseRef).WithHint("micro stop %s", rel.ReleaseRef)
		}
		next := *app
		next.History = withoutRelease(app.History, r.N)
		return []Change{Delete(rel), Put(&next)}, nil
	}
	changes := []Change{Delete(app)}
	for rel := range s.Releases(r.AppRef) {
		changes = append(changes, Delete(rel))
	}
	for site := range s.HostsOf(r.AppRef) {
		changes = append(changes, Put(site.withoutApp(r.AppRef)))
	}
	return changes, nil
}

// withoutApp returns a copy of the site without anything that leads to the app.
func (s *Site) withoutApp(r AppRef) *Site {
	c := *s
	c.Routes = nil
	for _, route := range s.Routes {
		route.Targets = slices.DeleteFunc(slices.Clone(route.Targets), func(t Target) bool { return t.AppRef == r })
		if route.Mirror != nil && route.Mirror.To.AppRef == r {
			route.Mirror = nil
		}
		if f := route.Crossfade; f != nil && (f.From.AppRef == r || f.To.AppRef == r) {
			route.Crossfade = nil
		}
		if len(route.Targets) > 0 {
			c.Routes = append(c.Routes, route)
		}
	}
	return &c
}

// Cool returns the changes that end the warm time of every release whose time has come.
func (s *State) Cool(at Stamp) []Change {
	var changes []Change
	for rel := range s.AllReleases() {
		if rel.Warm != nil && !at.At.Before(*rel.Warm) {
			next := *rel
			next.Warm = nil
			changes = append(changes, Put(&next))
		}
	}
	return changes
}
