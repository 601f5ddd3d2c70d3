package cloud

import (
	"maps"
	"slices"
)

// Promote returns the changes that begin to make a release current. Its formation is first raised to
// that of the release it replaces.
func (s *State) Promote(r ReleaseRef, force bool, at Stamp) ([]Change, error) {
	if r.N == 0 {
		return nil, Errorf(Invalid, "which release of %s should be promoted?", r).WithCommand("micro releases %s", r)
	}
	app, rel, err := s.MustRelease(r)
	if err != nil {
		return nil, err
	}
	switch {
	case rel.Failure != nil:
		return nil, failed(rel)
	case rel.Pruned:
		return nil, imageless(rel)
	case app.Current == rel.N && rel.Stopped:
		return nil, Errorf(Conflict, "release %s is current already, and stopped", rel.ReleaseRef).WithCommand("micro start %s", r.AppRef)
	case app.Current == rel.N:
		return nil, Errorf(Conflict, "release %s is current already", rel.ReleaseRef).WithCommand("micro releases %s", r.AppRef)
	case app.switchesTo(rel.N):
		return nil, nil
	}
	if newer := s.supersededBy(rel); newer != nil && !force {
		return nil, Errorf(Conflict, "release %s has been superseded by %s", rel.ReleaseRef, newer.ReleaseRef).WithCommand("micro promote %s --yes", rel.ReleaseRef)
	}
	if err := Join(s.notLocked(r.AppRef), s.appNotFading(r.AppRef)); err != nil {
		return nil, err
	}
	target := *rel
	if cur, ok := s.Release(app.Release(0)); ok {
		target = *rel.raisedTo(cur)
	}
	return s.switchTo(app, &target, at)
}

// raisedTo is the release with at least the formation of the one that it replaces. Instances with less
// memory or CPU than that are out of date.
func (r *Release) raisedTo(replaced *Release) *Release {
	raised := *r
	raised.Formation = r.Formation.AtLeast(replaced.Formation)
	_, single := r.Spec.exclusive()
	for name, to := range raised.Formation {
		if single {
			to.Instances = min(to.Instances, 1)
			raised.Formation[name] = to
		}
		if was := r.Formation[name]; was.Memory != to.Memory || was.CPU != to.CPU {
			raised.Generation = r.Generation + 1
		}
	}
	return &raised
}

func failed(r *Release) error {
	return Errorf(Conflict, "release %s failed: %s", r.ReleaseRef, r.Failure.Reason).WithCommand("micro releases %s", r.AppRef)
}

func (a *App) switchesTo(n int) bool { return a.Rollout != nil && a.Rollout.To == n }

// supersededBy returns the newest release that was derived from a staged one, if it serves or is to.
func (s *State) supersededBy(r *Release) (newer *Release) {
	if !r.Staged {
		return nil
	}
	derived := map[int]bool{r.N: true}
	for other := range s.Releases(r.AppRef) {
		if !derived[other.Parent] {
			continue
		}
		derived[other.N] = true
		if s.Runs(other) {
			newer = other
		}
	}
	return newer
}

// switchTo begins the switch to a release.
func (s *State) switchTo(app *App, target *Release, at Stamp) ([]Change, error) {
	if err := s.oneWriter(target, false); err != nil {
		return nil, err
	}
	s.prepareStart(target)
	next := *app
	next.Rollout = target.rollout(at)
	return []Change{Put(&next), Put(target)}, nil
}

// prepareStart lets r start. A release that does not run now gets a new generation, which clears its crash counts.
func (s *State) prepareStart(r *Release) {
	if was, ok := s.Release(r.ReleaseRef); ok && !s.Runs(was) {
		r.Generation = was.Generation + 1
	}
	r.Stopped = false
}

// oneWriter reports what keeps a release from running because of a volume of its, which has a single
// writer: beside is for one that runs beside the current release, not after it.
func (s *State) oneWriter(r *Release, beside bool) error {
	app, ok := s.App(r.AppRef)
	for other := range s.Releases(r.AppRef) {
		volume, shared := r.Spec.sharesVolume(other.Spec)
		if !ok || !shared || other.N == r.N || !s.Runs(other) {
			continue
		}
		if leaves := !beside && !other.Staged && !s.routed(other.ReleaseRef); leaves {
			continue
		}
		e := Errorf(Conflict, "release %s holds volume %q, which one release at a time may write to", other.ReleaseRef, volume)
		_, made := s.Release(r.ReleaseRef)
		switch {
		case other.N != app.Current && !app.switchesTo(other.N):
			return e.WithCommand("micro stop %s", other.ReleaseRef)
		case made:
			return e.WithCommand("micro promote %s", r.ReleaseRef)
		}
		return e.WithCommand("micro push --app %s", r.App) // not staged: the one before ends first
	}
	return nil
}

func (s Spec) sharesVolume(other Spec) (name string, ok bool) {
	for _, v := range s.Volumes {
		if slices.ContainsFunc(other.Volumes, func(o Volume) bool { return o.Name == v.Name }) {
			return v.Name, true
		}
	}
	return "", false
}

// Rollback returns the changes that begin to make an earlier release current again, and its name: n,
// or the one that was current before for 0. It makes no new release, and never goes to one that was
// never up. A switch under way is given up; that is all where n is current.
func (s *State) Rollback(r AppRef, n int, at Stamp) ([]Change, ReleaseRef, error) {
	app, err := s.MustApp(r)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	if n == 0 {
		for _, h := range slices.Backward(app.History) {
			if rel, ok := s.Release(r.Release(h)); ok && rel.Up && !rel.Pruned && h != app.Current {
				n = h
				break
			}
		}
		if n == 0 {
			e := Errorf(Conflict, "app %s has no release that was current before", r)
			if app.Rollout != nil && app.Current != 0 {
				return nil, ReleaseRef{}, e.WithHint("micro rollback %s r%d stays with what is current, and gives up r%d", r, app.Current, app.Rollout.To)
			}
			return nil, ReleaseRef{}, e.WithCommand("micro releases %s", r)
		}
	}
	_, rel, err := s.MustRelease(r.Release(n))
	switch {
	case err != nil:
		return nil, ReleaseRef{}, err
	case rel.Failure != nil || !rel.Up:
		return nil, ReleaseRef{}, Errorf(Conflict, "release %s was never up", rel.ReleaseRef).WithCommand("micro releases %s", r)
	case rel.Pruned:
		return nil, ReleaseRef{}, imageless(rel)
	case app.Current == n && app.Rollout != nil:
		next := *app
		next.Rollout = nil
		return []Change{Put(&next)}, rel.ReleaseRef, nil
	case app.Current == n:
		return nil, ReleaseRef{}, Errorf(Conflict, "release %s is current already", rel.ReleaseRef).WithCommand("micro releases %s", r)
	case app.switchesTo(n):
		return nil, rel.ReleaseRef, nil
	}
	if err := s.appNotFading(r); err != nil {
		return nil, ReleaseRef{}, err
	}
	// Its own formation comes back with it, and what it migrated is as it left it.
	target := *rel
	target.Ran = true
	changes, err := s.switchTo(app, &target, at)
	return changes, rel.ReleaseRef, err
}

// Scale returns the changes that alter a release's formation in place. A change of memory or CPU
// replaces its instances, one batch at a time; a change of their number does not. For an app without a
// number also the release that is about to take over changes: what is scaled while a push is under way
// must not be as it was when that ends.
//
// A change that leaves nothing to serve a public host needs force.
func (s *State) Scale(r ReleaseRef, want map[ProcessName]ProcessSpec, force bool) ([]Change, error) {
	changes, err := s.scale(r, want)
	if err != nil {
		return nil, err
	}
	if force {
		return changes, nil
	}
	if e := s.checkPublic(r.AppRef, changes); e != nil {
		return nil, e.WithCommand("micro scale %s -i 0 --yes", r)
	}
	return changes, nil
}

func (s *State) scale(r ReleaseRef, want map[ProcessName]ProcessSpec) ([]Change, error) {
	app, err := s.MustApp(r.AppRef)
	if err != nil {
		return nil, err
	}
	next := 0
	if app.Rollout != nil && r.N == 0 {
		next = app.Rollout.To
	}
	if app.Current == 0 && next != 0 {
		r.N = next
	}
	_, rel, err := s.MustRelease(r)
	if err != nil {
		return nil, err
	}
	changes, err := s.scaleRelease(rel, want)
	to, ok := s.Release(app.Release(next))
	if err != nil || next == 0 || !ok || to.N == rel.N {
		return changes, err
	}
	want = maps.Clone(want)
	maps.DeleteFunc(want, func(name ProcessName, _ ProcessSpec) bool { _, has := to.Formation[name]; return !has })
	more, err := s.scaleRelease(to, want)
	return append(changes, more...), err
}

func (s *State) scaleRelease(r *Release, want map[ProcessName]ProcessSpec) ([]Change, error) {
	next := *r
	next.Formation = maps.Clone(r.Formation)
	for name, p := range want {
		was, ok := r.Formation[name]
		if !ok {
			return nil, Errorf(NotFound, "release %s has no process %q, only %v", r.ReleaseRef, name, sortedKeys(r.Formation)).WithCommand("micro app %s", r.AppRef)
		}
		now := p.scale(name, r.Formation, false)
		if now.Memory != was.Memory || now.CPU != was.CPU {
			next.Generation = r.Generation + 1
		}
		next.Formation[name] = now
	}
	if err := Join(next.Formation.Validate(), r.Spec.crowded(next.Formation), s.checkSize(r.Formation, next.Formation)); err != nil {
		return nil, err
	}
	if maps.Equal(next.Formation, r.Formation) {
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
		return nil, Errorf(Conflict, "release %s does not run", rel.ReleaseRef).WithCommand("micro start %s", rel.ReleaseRef)
	}
	next := *rel
	next.Generation++
	return []Change{Put(&next)}, nil
}

// Stop returns the changes that end all instances of a release; for an app without a number also those
// of a switch under way and of releases kept warm. Where nothing else serves a public host it needs force.
func (s *State) Stop(r ReleaseRef, force bool) ([]Change, error) {
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
	if rel == nil && len(changes) == 0 {
		return nil, err
	}
	if !force {
		if e := s.checkPublic(r.AppRef, changes); e != nil {
			return nil, e.WithCommand("micro stop %s --yes", r)
		}
	}
	return changes, nil
}

// Start returns the changes that let a stopped release run again; one that no route names is staged.
func (s *State) Start(r ReleaseRef, at Stamp) ([]Change, error) {
	app, rel, err := s.MustRelease(r)
	if err != nil {
		return nil, err
	}
	if rel.Failure != nil {
		return nil, failed(rel)
	}
	if rel.Pruned {
		return nil, imageless(rel)
	}
	if s.Runs(rel) {
		return nil, nil
	}
	next := *rel
	if rel.N != app.Current && !s.routed(rel.ReleaseRef) {
		next.Staged = true
	}
	if err := s.oneWriter(&next, rel.N != app.Current || app.Rollout != nil); err != nil {
		return nil, err
	}
	next.Since = at.At
	s.prepareStart(&next)
	return []Change{Put(&next)}, nil
}

// Delete returns the changes that remove an app with all its releases and the routes to it, or one
// release that neither serves nor is routed to. Hosts stay with their owner.
func (s *State) Delete(r ReleaseRef) ([]Change, error) {
	app, err := s.MustApp(r.AppRef)
	if err != nil {
		return nil, err
	}
	if app.Service != nil {
		return nil, Errorf(Conflict, "%s is a service, not an app", r.AppRef).WithCommand("micro service delete %s", r.AppRef)
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
			return nil, Errorf(Conflict, "release %s has routes", rel.ReleaseRef).WithCommand("micro routes")
		case app.Rollout != nil && app.Rollout.To == r.N:
			return nil, Errorf(Conflict, "release %s is about to become current", rel.ReleaseRef).WithCommand("micro stop %s", rel.ReleaseRef)
		}
		next := *app
		next.History = withoutRelease(app.History, r.N)
		return slices.Concat([]Change{Delete(rel), Put(&next)}, s.forgetReviews(rel.ReleaseRef), s.forgetLinks(rel.ReleaseRef)), nil
	}
	if err := s.notLocked(r.AppRef); err != nil {
		return nil, err
	}
	changes := []Change{Delete(app)}
	for rel := range s.Releases(r.AppRef) {
		changes = append(changes, Delete(rel))
		changes = append(changes, s.forgetReviews(rel.ReleaseRef)...)
	}
	for vhost := range s.HostsOf(r.AppRef) {
		changes = append(changes, Put(vhost.withoutApp(r.AppRef)))
	}
	return slices.Concat(changes, s.forgetLinks(r.AppRef.Release(0)), s.forgetEgress(r.Group, r.App)), nil
}

// withoutApp returns a copy of the vhost without anything that routes to the app.
func (s *VirtualHost) withoutApp(r AppRef) *VirtualHost {
	c := *s
	c.Routes = nil
	for _, route := range s.Routes {
		switch f := route.Crossfade; {
		case f != nil && f.To.AppRef == r:
			route.Crossfade, route.Targets = nil, f.Before
		case f != nil && f.From.AppRef == r:
			route.Crossfade, route.Targets = nil, []Target{{ReleaseRef: f.To}}
		}
		route.Targets = slices.DeleteFunc(slices.Clone(route.Targets), func(t Target) bool { return t.AppRef == r })
		route.Rules = slices.DeleteFunc(slices.Clone(route.Rules), func(o Rule) bool { return o.To.AppRef == r })
		if route.Mirror != nil && route.Mirror.To.AppRef == r {
			route.Mirror = nil
		}
		if len(route.Targets) > 0 {
			c.Routes = append(c.Routes, route)
		}
	}
	return &c
}

// Cool returns the changes that end the warm time of the app's releases whose time has come.
func (s *State) Cool(app AppRef, at Stamp) []Change {
	var changes []Change
	for rel := range s.Releases(app) {
		if rel.Warm != nil && !at.At.Before(*rel.Warm) {
			next := *rel
			next.Warm = nil
			changes = append(changes, Put(&next))
		}
	}
	return changes
}
