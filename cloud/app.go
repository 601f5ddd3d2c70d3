package cloud

import (
	"fmt"
	"time"
)

// App is a name in a group, and which of its releases the name stands for.
type App struct {
	AppRef
	Created time.Time `json:"created"`
	// Last is the highest number that a release of the app ever had.
	Last int `json:"last"`
	// Current is the release that the app's own address follows, 0 for none yet.
	Current int `json:"current"`
	// History has the releases that were current before, the latest last.
	History []int `json:"history,omitempty"`
	// Rollout is the switch to another release that is under way.
	Rollout *Rollout `json:"rollout,omitempty"`
	// Env is what was set before the app had a current release. Releases made until then start with it.
	Env map[string]string `json:"env,omitempty"`
	// Secrets are the names of variables of Env that are secret, as in Spec. Ascending.
	Secrets []string `json:"secrets,omitempty"`
	// Bindings are what was bound before the app had a current release. Releases made until then start with them.
	Bindings []Binding `json:"bindings,omitempty"`
	// Service is set of an app that is a backing service.
	Service *Service `json:"service,omitempty"`
}

// Key is "apps/GROUP/APP".
func (a *App) Key() Key { return appKey(a.AppRef) }

func (a *App) touch(t *touched)  { t.apps[a.AppRef] = true }
func (a *App) indexes() []string { return nil }

func appKey(r AppRef) Key { return Key("apps/" + string(r.Group) + "/" + string(r.App)) }

// Rollout is a switch of an app's current release that is under way.
type Rollout struct {
	To      int       `json:"to"`
	Started time.Time `json:"started"`
	// Released says that the release command has ended well, or that there is none.
	Released bool `json:"released"`
	// Strategy is the release's own, or what the command that began the switch asked for.
	Strategy Strategy `json:"strategy"`
}

// Release is an immutable Spec, and what may change beside it.
type Release struct {
	ReleaseRef
	Created time.Time `json:"created"`
	// Since is when it was last asked to run: made, or started after a stop. Its time to come up counts from there.
	Since time.Time `json:"since"`
	By    string    `json:"by"`    // who made it
	Cause string    `json:"cause"` // the verb that made it: push, env, bind …
	// Push is the ID of the push that made it: whoever lost the connection finds the outcome by it.
	Push string `json:"push,omitempty"`
	// Parent is the release that this one took environment, bindings and formation from, 0 for none.
	Parent int  `json:"parent,omitempty"`
	Spec   Spec `json:"spec"`

	Formation Formation `json:"formation"`
	// Generation counts what makes running instances out of date (restart, a change of memory): those of
	// an older one are replaced, one batch at a time.
	Generation int `json:"generation"`
	// Staged releases run at their own address although no route leads to them.
	Staged bool `json:"staged,omitempty"`
	// Stopped releases run nothing, whatever routes to them.
	Stopped bool `json:"stopped,omitempty"`
	// Warm is until when a release that was current goes on running, for a quick way back; the leader
	// clears it when the time has come.
	Warm *time.Time `json:"warm,omitempty"`
	// Up says that the release has been ready once: it may be rolled back to.
	Up bool `json:"up,omitempty"`
	// Switch is how long the app was away when it last switched to this release by recreate; 0 is unknown.
	Switch Duration `json:"switch,omitempty"`
	// Prepare has the release command run although the release is staged: it uses another service than its parent.
	Prepare bool `json:"prepare,omitempty"`
	// Ran says that the release command has ended well: it is run once.
	Ran bool `json:"ran,omitempty"`
	// Pruned says that the release's image is not kept any more: it is a record, and runs no more.
	Pruned bool `json:"pruned,omitempty"`
	// Failure is why the release never came up.
	Failure *Failure `json:"failure,omitempty"`
	// Fades are the records of the last cross-fades to the release.
	Fades []FadeRecord `json:"fades,omitempty"`
}

// Key is "releases/GROUP/APP/N", N with eight digits.
func (r *Release) Key() Key { return releaseKey(r.ReleaseRef) }

func (r *Release) touch(t *touched)  { t.apps[r.AppRef] = true }
func (r *Release) indexes() []string { return nil }

func releaseKey(r ReleaseRef) Key {
	return Key(fmt.Sprintf("releases/%s/%s/%08d", r.Group, r.App, r.N))
}

// Failure is why a deploy failed, as the person who pushed needs to know it.
type Failure struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`          // one sentence
	Hint   string    `json:"hint,omitempty"`  // the next thing to try
	Lines  []string  `json:"lines,omitempty"` // what the app logged last, at most 20 lines
}

// Phase is where a release stands.
type Phase string

// The phases of a release.
const (
	PhaseStarting   Phase = "starting"   // being switched to, or staged and not up yet
	PhaseCurrent    Phase = "current"    // the app's address follows it
	PhaseStaged     Phase = "staged"     // runs at its own address alone
	PhaseRouted     Phase = "routed"     // a target of some route by its number
	PhaseWarm       Phase = "warm"       // was current, and runs on for a quick way back
	PhaseRetired    Phase = "retired"    // was up, runs no more
	PhasePruned     Phase = "pruned"     // was up, and its image is not kept any more
	PhaseStopped    Phase = "stopped"    // ended by a person
	PhaseFailed     Phase = "failed"     // never came up
	PhaseSuperseded Phase = "superseded" // a newer push came before it was up
)

// PhaseOf says where a release stands.
func (s *State) PhaseOf(r *Release) Phase {
	app, ok := s.App(r.AppRef)
	switch {
	case r.Failure != nil:
		return PhaseFailed
	case r.Stopped:
		return PhaseStopped
	case ok && app.Current == r.N:
		return PhaseCurrent
	case ok && app.Rollout != nil && app.Rollout.To == r.N:
		return PhaseStarting
	case r.Staged && !r.Up:
		return PhaseStarting
	case s.routed(r.ReleaseRef):
		return PhaseRouted
	case r.Staged:
		return PhaseStaged
	case r.Warm != nil:
		return PhaseWarm
	case r.Up && r.Pruned:
		return PhasePruned
	case r.Up:
		return PhaseRetired
	}
	return PhaseSuperseded
}

// Runs says whether instances of the release are to run: it is current, on its way to be, staged, kept
// warm or a target of a route, and neither stopped nor failed.
func (s *State) Runs(r *Release) bool {
	switch s.PhaseOf(r) {
	case PhaseStarting, PhaseCurrent, PhaseStaged, PhaseRouted, PhaseWarm:
		return true
	case PhaseRetired, PhasePruned, PhaseStopped, PhaseFailed, PhaseSuperseded:
		return false
	}
	return false
}

// Wanted is how much of each process is to run of a release that runs. One that is kept warm is there to
// answer again at once: what does other work does it for the current release alone.
func (s *State) Wanted(r *Release) Formation {
	if s.PhaseOf(r) != PhaseWarm {
		return r.Formation
	}
	only := Formation{}
	if web, ok := r.Formation[Web]; ok {
		only[Web] = web
	}
	return only
}

// routed says whether a route names the release by number.
func (s *State) routed(ref ReleaseRef) bool {
	for vhost := range s.HostsOf(ref.AppRef) {
		for _, route := range vhost.Routes {
			if route.routesTo(ref) {
				return true
			}
		}
	}
	return false
}

func (r *Route) routesTo(ref ReleaseRef) bool {
	for named := range r.refs() {
		if named == ref {
			return true
		}
	}
	return false
}
