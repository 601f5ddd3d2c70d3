package cloud

import (
	"cmp"
	"slices"
	"time"
)

// Stamp is who changes something, when, and why where micro does so by itself.
type Stamp struct {
	At  time.Time
	By  string
	Why string
}

// Init is the change that a cloud begins with: the default group.
func (s *State) Init(at Stamp) []Change {
	if _, ok := s.Group(DefaultGroup); ok {
		return nil
	}
	return []Change{Put(&Group{Name: DefaultGroup, Created: at.At, Number: 0})}
}

// Push is a new release of an app.
type Push struct {
	App   AppRef
	Spec  PushSpec
	Built Built
	// Stage keeps the release from becoming current: it runs at its own address alone.
	Stage bool
	// ID is the push's own, by which its outcome is found.
	ID string
}

// Push returns the changes that make a release, and its name. The app is made where it is new. A push
// that is still under way is superseded.
func (s *State) Push(p Push, at Stamp) ([]Change, ReleaseRef, error) {
	if err := Join(s.checkNewApp(p.App), s.notService(p.App)); err != nil {
		return nil, ReleaseRef{}, err
	}
	app, ok := s.App(p.App)
	if !ok {
		app = &App{AppRef: p.App, Created: at.At}
	}
	parent, _ := s.Release(p.App.Release(0))
	if parent == nil && len(app.Env) > 0 {
		// Set for this release by micro env: more than a default, less than what the push says itself.
		p.Spec.EnvDefaults, _ = EnvChange{Set: app.Env}.apply(p.Spec.EnvDefaults, nil)
	}
	spec, formation, err := p.Spec.Resolve(p.Built, parent)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	if parent == nil {
		spec.Bindings, _ = BindingChange{Bind: app.Bindings}.apply(nil, app.Last+1)
	}
	if spec.Bindings, err = p.Spec.bindings(spec.Bindings, app.Last+1); err != nil {
		return nil, ReleaseRef{}, err
	}
	secrets := app.Secrets
	if parent != nil {
		secrets = parent.Spec.Secrets
	}
	for _, k := range secrets {
		if _, clash := p.Spec.Env[k]; clash {
			return nil, ReleaseRef{}, Errorf(Conflict, "the push sets environment variable %s, which is a secret of %s: leave it out, or unset the secret", k, p.App).
				WithCommand("micro secret unset %s %s", p.App, k)
		}
	}
	spec.Secrets = secretNames(secrets, spec.Env)
	was := Formation{}
	if parent != nil {
		was = parent.Formation
	}
	if err := s.checkSize(was, formation); err != nil {
		return nil, ReleaseRef{}, err
	}
	if err := s.checkRoutes(p.App, p.Spec.Routes); err != nil {
		return nil, ReleaseRef{}, err
	}
	if _, err := s.mapSpec(p.App, p.Spec.Routes, at); err != nil {
		return nil, ReleaseRef{}, err
	}
	changes, rel, err := s.derive(app, parent, spec, formation, p.Stage, "push", at)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	rel.Push = p.ID
	approval := s.CheckApproval(changes)
	if p.Stage {
		approval = s.mayUseProduction(rel) // the public does not reach it
	}
	if approval != nil {
		return nil, ReleaseRef{}, approval
	}
	return changes, rel.ReleaseRef, s.CheckQuota(changes)
}

// CheckPush reports what keeps a push from being accepted, as far as that is known without an image.
func (s *State) CheckPush(app AppRef, d PushSpec, stage bool) error {
	_, _, err := s.Push(Push{App: app, Spec: d, Stage: stage}, Stamp{})
	return err
}

func (s *State) checkNewApp(r AppRef) error {
	if err := r.App.Validate(); err != nil {
		return err
	}
	if _, err := s.MustGroup(r.Group); err != nil {
		return err
	}
	if r.Group == DefaultGroup {
		if _, ok := s.Group(GroupName(r.App)); ok && GroupName(r.App) != DefaultGroup {
			return Errorf(Conflict, "app name %q is the name of a group", r.App).WithHint("choose another name: their addresses would be the same")
		}
	}
	return nil
}

// derive makes the next release of an app and, unless it is staged, begins the switch to it.
func (s *State) derive(app *App, parent *Release, spec Spec, f Formation, stage bool, cause string, at Stamp) ([]Change, *Release, error) {
	if err := s.notLocked(app.AppRef); err != nil {
		return nil, nil, err
	}
	if err := s.appNotFading(app.AppRef); err != nil && !stage {
		return nil, nil, err
	}
	if err := s.checkBindings(app.AppRef, spec.Bindings, spec.Env); err != nil {
		return nil, nil, err
	}
	next := *app
	next.Last++
	rel := &Release{
		ReleaseRef: app.Release(next.Last),
		Created:    at.At,
		Since:      at.At,
		By:         at.By,
		Cause:      cause,
		Spec:       spec,
		Formation:  f,
		Staged:     stage,
	}
	if parent != nil {
		rel.Parent = parent.N
	}
	if !stage {
		next.Rollout = rel.rollout(at)
	}
	return []Change{Put(&next), Put(rel)}, rel, s.oneWriter(rel, stage)
}

func (r *Release) rollout(at Stamp) *Rollout {
	_, has := r.Spec.Processes[ReleaseCommand]
	return &Rollout{To: r.N, Started: at.At, Released: !has || r.Ran, Strategy: r.Spec.Strategy}
}

// makeCurrent returns the changes that make release n the app's current one, and keep the one before warm
// until the given time.
func (s *State) makeCurrent(app *App, n int, warm time.Time, at Stamp) []Change {
	next := *app
	next.Rollout = nil
	changes := []Change{}
	if app.Current != 0 && app.Current != n {
		next.History = append(withoutRelease(app.History, n), app.Current)
		if old, ok := s.Release(app.Release(app.Current)); ok {
			cooled := *old
			to, made := s.Release(app.Release(n))
			// A release with other accounts ends: what was unbound must have no session left. Beside one with the strategy
			// recreate nothing of the app runs.
			keep := maxWarm
			if made && to.Spec.Strategy.Kind == Recreate {
				keep = 0
			}
			if keep > 0 && cooled.Spec.Strategy.Kind != Recreate && !cooled.Stopped && made && sameBindings(old, to) {
				cooled.Warm = &warm
			}
			cooled.Staged = false
			changes = append(changes, Put(&cooled))
			changes = append(changes, s.coolBut(app.AppRef, max(keep-1, 0), to, app.Current, n)...)
		}
	}
	next.Current = n
	next.Env, next.Secrets, next.Bindings = nil, nil, nil // its releases have it from now on
	if rel, ok := s.Release(app.Release(n)); ok {
		if !rel.Up || rel.Staged {
			mapped, err := s.mapSpec(app.AppRef, rel.Spec.Routes, at)
			switch {
			case rel.Spec.NoRoute:
				changes = append(changes, s.unmapAll(app.AppRef)...)
			case err == nil: // a host that somebody else took meanwhile is no reason to fail what runs
				changes = append(changes, mapped...)
			}
		}
		up := *rel
		from, _ := s.Release(app.Release(app.Current))
		if took := rel.switchTime(app.Rollout, from, at.At); took > 0 {
			up.Switch = took
		}
		up.Up, up.Staged, up.Warm, up.Stopped = true, false, nil, false
		changes = append(changes, Put(&up))
	}
	return append([]Change{Put(&next)}, changes...)
}

// maxWarm is how many releases of an app are kept warm at a time. Whoever deploys every minute does not
// want ten of them in memory, and the way back is mostly one step long.
const maxWarm = 2

// coolBut returns the changes that end the warm time of all releases of an app but the latest few that have the accounts of
// release to, those named apart.
func (s *State) coolBut(r AppRef, keep int, to *Release, apart ...int) []Change {
	var warm, others []*Release
	for rel := range s.Releases(r) {
		switch {
		case rel.Warm == nil || slices.Contains(apart, rel.N):
		case to == nil || sameBindings(rel, to):
			warm = append(warm, rel)
		default:
			others = append(others, rel)
		}
	}
	slices.SortFunc(warm, func(a, b *Release) int { return cmp.Or(b.Warm.Compare(*a.Warm), b.N-a.N) })
	var changes []Change
	for _, rel := range append(others, warm[min(keep, len(warm)):]...) {
		cold := *rel
		cold.Warm = nil
		changes = append(changes, Put(&cold))
	}
	return changes
}

// maxHistory bounds how many releases an app remembers as having been current.
const maxHistory = 50

func withoutRelease(history []int, n int) []int {
	kept := make([]int, 0, len(history)+1)
	for _, h := range history {
		if h != n {
			kept = append(kept, h)
		}
	}
	return kept[max(0, len(kept)-maxHistory+1):]
}

// FinishRollout ends the app's roll-out well: its target becomes current. warm is until when the release that
// was current runs on.
func (s *State) FinishRollout(r AppRef, warm time.Time, at Stamp) []Change {
	app, ok := s.App(r)
	if !ok || app.Rollout == nil {
		return nil
	}
	return s.makeCurrent(app, app.Rollout.To, warm, at)
}

// MarkReleased notes that the release command of a release has ended well.
func (s *State) MarkReleased(r ReleaseRef) (changes []Change) {
	app, ok := s.App(r.AppRef)
	if !ok {
		return nil
	}
	switching := app.switchesTo(r.N)
	if switching {
		next, rollout := *app, *app.Rollout
		rollout.Released = true
		next.Rollout = &rollout
		changes = append(changes, Put(&next))
	}
	if rel, ok := s.Release(r); ok && (switching || rel.Prepare) {
		ran := *rel
		ran.Ran = true
		changes = append(changes, Put(&ran))
	}
	return changes
}

// AwaitsCommand reports whether a release's command must end before its first instances start: of one that takes over, and
// of one that is staged with another service.
func (s *State) AwaitsCommand(r *Release) bool {
	if _, has := r.Spec.Processes[ReleaseCommand]; !has {
		return false
	}
	if app, ok := s.App(r.AppRef); ok && app.switchesTo(r.N) {
		return !app.Rollout.Released
	}
	return r.Prepare && !r.Ran && r.Failure == nil
}

// MarkUp notes that a release has been ready once.
func (s *State) MarkUp(r ReleaseRef) []Change {
	rel, ok := s.Release(r)
	if !ok || rel.Up {
		return nil
	}
	next := *rel
	next.Up = true
	return []Change{Put(&next)}
}

// Fail ends the app's roll-out to release n badly: the app is as it was before. Without a roll-out it
// marks a staged release as failed.
func (s *State) Fail(r ReleaseRef, f Failure) []Change {
	var changes []Change
	if app, ok := s.App(r.AppRef); ok && app.Rollout != nil && app.Rollout.To == r.N {
		next := *app
		next.Rollout, next.Service = nil, app.Service.without(r.N)
		changes = append(changes, Put(&next))
	}
	if rel, ok := s.Release(r); ok && r.N != 0 && !rel.Up {
		failed := *rel
		failed.Failure = &f
		failed.Staged = false
		changes = append(changes, Put(&failed))
	}
	return changes
}
