package cloud

import (
	"math"
	"slices"
	"strings"
	"time"
)

// Crossfade is a move of a route from one release to another, in steps.
type Crossfade struct {
	From ReleaseRef `json:"from"`
	To   ReleaseRef `json:"to"`
	// Steps are shares of To in percent, rising to 100, which is the end. Without steps micro chooses them.
	Steps []int `json:"steps,omitempty"`
	// Step is how many steps have been taken. At 0 the instances of To are made ready, and get nothing.
	Step    int       `json:"step"`
	Percent float64   `json:"percent"` // the share of To now
	Started time.Time `json:"started"`
	First   time.Time `json:"first,omitzero"` // when To got its first share
	Since   time.Time `json:"since"`          // when Step began
	Paused  bool      `json:"paused,omitempty"`
	By      string    `json:"by,omitempty"`       // who began it
	MovedBy string    `json:"moved_by,omitempty"` // who moved it last: took its step, paused or resumed it
	Reason  string    `json:"reason,omitempty"`   // why its last step was taken
	// Made says that To was made for the cross-fade. It is stopped if the traffic goes back.
	Made bool `json:"made,omitempty"`
	FadePlan
	// Before are the targets to go back to.
	Before []Target `json:"before"`
	// Log is what happened so far, the oldest first.
	Log []FadeEntry `json:"log,omitempty"`
	// Limit is that of the token that began it, nil for none. Whoever resumes it without such a limit lifts it.
	Limit *FadeLimit `json:"fade_limit,omitempty"`
}

// FadePlan is how a cross-fade is to go.
type FadePlan struct {
	Over Duration `json:"over"` // from the first step to the end, where nothing has to be waited for
	// Budget is how many requests a bad release may harm before the traffic is back.
	Budget int `json:"budget,omitempty"`
	// Guards are what the new release may not be worse at: "errors", "latency", "cpu", "memory", "logs". With any of them the
	// metrics of the release's own guards are compared too.
	Guards []string `json:"guards,omitempty"`
	// Unit is what counts once: a request, or on a sticky route a client, so that a noisy one does not decide.
	Unit    Unit    `json:"unit,omitempty"`
	Errors  float64 `json:"errors_margin"`  // how much larger the share of errors may be, 0 to 1
	Latency float64 `json:"latency_margin"` // how much longer the 95th percentile may be: 0.2 is a fifth
	// Max is how long to wait for traffic enough to judge by, and OnInconclusive what comes then.
	Max            Duration     `json:"max"`
	OnInconclusive Inconclusive `json:"on_inconclusive"`
}

// Defaults of a cross-fade.
const (
	// DefaultBudget is how many requests a bad release may harm.
	DefaultBudget = 20
	// DefaultOver is the least time from the first share to the end: some harm needs a while to show.
	DefaultOver = Duration(5 * time.Minute)
	// DefaultStepsOver is the same where the steps are given.
	DefaultStepsOver = Duration(10 * time.Minute)
	// DefaultMax is how long evidence is waited for.
	DefaultMax = Duration(30 * time.Minute)
	// DefaultErrors and DefaultLatency are the margins.
	DefaultErrors  = 0.005
	DefaultLatency = 0.2
	// DefaultCutoverMax is how long a cutover waits for its target's instances.
	DefaultCutoverMax = Duration(15 * time.Minute)
)

// DefaultFade is the plan of a cross-fade of which nothing else is said: micro chooses its steps.
func DefaultFade() FadePlan {
	return FadePlan{
		Over: DefaultOver, Budget: DefaultBudget, Guards: []string{"errors", "latency"}, Errors: DefaultErrors, Latency: DefaultLatency,
		Max: DefaultMax, OnInconclusive: InconclusiveAbort,
	}
}

// CutoverFade is the steps and the plan of a cutover: a cross-fade of one step that nothing guards.
func CutoverFade() ([]int, FadePlan) {
	plan := DefaultFade()
	plan.Over, plan.Guards, plan.Max = 0, nil, DefaultCutoverMax
	return []int{100}, plan
}

// Unit is what a cross-fade counts.
type Unit string

// The units. "" is UnitRequest.
const (
	UnitRequest Unit = "request"
	UnitClient  Unit = "client"
)

// Inconclusive says what becomes of a cross-fade that too little traffic was seen of.
type Inconclusive string

// What may become of it.
const (
	InconclusiveHold  Inconclusive = "hold"
	InconclusiveAbort Inconclusive = "abort"
	InconclusiveGo    Inconclusive = "go"
)

// Faded is how a cross-fade ended.
type Faded struct {
	From     ReleaseRef `json:"from"`
	To       ReleaseRef `json:"to"`
	Ended    time.Time  `json:"ended"`
	Finished bool       `json:"finished"`         // false: the targets are those from before
	Reason   string     `json:"reason,omitempty"` // why it went back, or why its last step was taken
	Share    float64    `json:"share"`            // percent that To had at the end
	By       string     `json:"by"`               // who ended it, "micro" for a verdict
}

// Share is what To has now, in percent.
func (f *Crossfade) Share() float64 {
	if f.Percent == 0 && f.Step > 0 && f.Step <= len(f.Steps) {
		return float64(f.Steps[f.Step-1]) // written before shares were kept
	}
	return f.Percent
}

// Planned is the share that comes after the present step, 0 where micro chooses it.
func (f *Crossfade) Planned() float64 {
	if f.Step < len(f.Steps) {
		return float64(f.Steps[f.Step])
	}
	return 0
}

// Began is when the new release got its first share.
func (f *Crossfade) Began() time.Time {
	if f.First.IsZero() {
		return f.Started
	}
	return f.First
}

// guardNames are the guards that a cross-fade may have.
var guardNames = []string{"errors", "latency", "cpu", "memory", "logs"}

func (p FadePlan) validate(steps []int) error {
	switch {
	case p.Over < 0 || p.Over > Duration(30*24*time.Hour):
		return Errorf(Invalid, "a cross-fade over %s is not between 0 and 30 days", p.Over)
	case len(steps) > 0 && (steps[len(steps)-1] != 100 || steps[0] < 1 || !slices.IsSorted(steps) || len(slices.Compact(slices.Clone(steps))) != len(steps)):
		return Errorf(Invalid, "steps %v do not rise from 1 or more to 100 percent", steps).WithHint("for example --steps 1,5,20,50,100")
	case !(0 <= p.Errors && p.Errors <= 1 && 0 <= p.Latency && p.Latency <= 100): // NaN neither
		return Errorf(Invalid, "margins of %g points for errors and %g %% for latency are not between 0 and 100 points, and 0 and 10000 %%", 100*p.Errors, 100*p.Latency)
	case len(steps) == 0 && (p.Budget < 1 || p.Budget > 1_000_000):
		return Errorf(Invalid, "a budget of %d requests is not between 1 and 1000000", p.Budget).WithHint("for example --budget 20")
	case p.Max <= 0:
		return Errorf(Invalid, "a cross-fade must be allowed some time to wait for traffic").WithHint("for example --max 24h")
	}
	for i, g := range p.Guards {
		if !slices.Contains(guardNames, g) || slices.Contains(p.Guards[:i], g) {
			return Errorf(Invalid, "guard %q is not one of %s, each given once", g, strings.Join(guardNames, ", ")).WithHint("for example --guard errors,latency,cpu")
		}
	}
	if !slices.Contains([]Unit{"", UnitRequest, UnitClient}, p.Unit) {
		return Errorf(Invalid, "unit %q is not one of request, client", p.Unit)
	}
	if !slices.Contains([]Inconclusive{InconclusiveHold, InconclusiveAbort, InconclusiveGo}, p.OnInconclusive) {
		return Errorf(Invalid, "%q is not one of hold, abort, go", p.OnInconclusive)
	}
	return nil
}

// BeginCrossfade returns the changes that begin to move a route to a release. Its formation is first
// raised to that of the release it replaces.
func (s *State) BeginCrossfade(h Host, path string, to ReleaseRef, steps []int, plan FadePlan, force bool, at Stamp) ([]Change, error) {
	if err := plan.validate(steps); err != nil {
		return nil, err
	}
	vhost, route, err := s.mustRoute(h, path)
	if err != nil {
		return nil, err
	}
	if err := route.notFading(h); err != nil {
		return nil, err
	}
	if plan.Unit == UnitClient && route.Sticky == nil {
		return nil, Errorf(Conflict, "%s%s does not keep its clients with a release, so they can't be counted", h, path).WithHint("use --unit request, or map the host with --sticky")
	}
	_, rel, err := s.MustRelease(to)
	if err != nil {
		return nil, err
	}
	to = rel.ReleaseRef
	if err := s.notLocked(to.AppRef); err != nil {
		return nil, err
	}
	if err := s.mayServe(rel, force); err != nil {
		return nil, err
	}
	if rel.Group != vhost.Group {
		return nil, Errorf(Conflict, "%s is not of the group that owns %s", to, h)
	}
	from, err := s.fadeFrom(h, route)
	if err != nil {
		return nil, err
	}
	if from.ReleaseRef == to {
		return nil, Errorf(Conflict, "%s%s already routes to %s", h, path, to)
	}
	if len(steps) != 1 && !(rel.Spec.Overlap && from.Spec.Overlap) {
		return nil, Errorf(Conflict, "%s and %s must not serve side by side (overlap: false)", from.ReleaseRef, to).WithCommand("micro cutover %s --to %s", h, to)
	}
	if from.AppRef == to.AppRef {
		// Its end makes the release current, which nothing else may do meanwhile.
		if err := s.fadeAlone(to); err != nil {
			return nil, err
		}
	}
	if err := s.oneWriter(rel, true); err != nil {
		return nil, err
	}
	target := rel.raisedTo(from)
	s.prepareStart(target)
	next := *route
	next.Faded = nil
	next.Crossfade = &Crossfade{From: from.ReleaseRef, To: to, Steps: steps, Started: at.At, Since: at.At, By: at.By, MovedBy: at.By, FadePlan: plan, Before: route.Targets}
	next.Targets = next.Crossfade.targets()
	next.Crossfade = next.Crossfade.noted(at, "started", nil)
	return []Change{Put(vhost.With(next)), Put(target)}, nil
}

// RebindCrossfade returns the changes that make a release which uses other services than to does, begin to move a route to
// it, and the release. It goes back as one thing: the release is stopped then, and its accounts are revoked.
func (s *State) RebindCrossfade(h Host, path string, to ReleaseRef, rebind map[AppName]AppName, steps []int, plan FadePlan, force bool, at Stamp) ([]Change, ReleaseRef, error) {
	if err := plan.validate(steps); err != nil {
		return nil, ReleaseRef{}, err
	}
	_, rel, err := s.MustRelease(to)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	if err := s.mayServe(rel, force); err != nil {
		return nil, ReleaseRef{}, err
	}
	changes, made, err := s.changeBindings(rel.ReleaseRef, BindingChange{Rebind: rebind}, true, "crossfade", at)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	next := s.Apply(s.Rev()+1, changes)
	fading, err := next.BeginCrossfade(h, path, made, steps, plan, force, at)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	for _, c := range fading {
		if vhost, ok := c.Object.(*VirtualHost); ok {
			if route, ok := vhost.Route(path); ok {
				began, fade := *route, *route.Crossfade
				fade.Made = true
				began.Crossfade = &fade
				c = Put(vhost.With(began))
			}
		}
		changes = append(changes, c)
	}
	return latest(changes), made, nil
}

// latest returns the changes without those of objects that change again later.
func latest(changes []Change) (out []Change) {
	for i, c := range changes {
		again := slices.ContainsFunc(changes[i+1:], func(later Change) bool { return later.Key == c.Key })
		if !again {
			out = append(out, c)
		}
	}
	return out
}

// fadeAlone reports what else is about to make a release of the app current. Several hosts may be faded
// to one release at a time: whichever is first makes it current.
func (s *State) fadeAlone(to ReleaseRef) error {
	app, err := s.MustApp(to.AppRef)
	switch {
	case err != nil:
		return err
	case app.Rollout != nil:
		return Errorf(Conflict, "app %s is being switched to %s", app.AppRef, app.Release(app.Rollout.To)).WithCommand("micro releases %s", app.AppRef)
	}
	return s.appNotFadingBut(to)
}

// mayServe reports what keeps a release from taking traffic.
func (s *State) mayServe(rel *Release, force bool) error {
	if rel.Failure != nil {
		return failed(rel)
	}
	if rel.Pruned {
		return imageless(rel)
	}
	if newer := s.supersededBy(rel); newer != nil && !force {
		return Errorf(Conflict, "release %s has been superseded by %s", rel.ReleaseRef, newer.ReleaseRef).WithHint("add --yes")
	}
	return nil
}

// fadeFrom is the release that a route names now: a fade starts from one.
func (s *State) fadeFrom(h Host, route *Route) (*Release, error) {
	var from *Release
	for _, t := range route.Targets {
		if t.Weighted && t.Weight == 0 {
			continue
		}
		if from != nil {
			return nil, Errorf(Conflict, "%s%s has several targets, and a cross-fade moves from one release to another", h, route.Path).WithCommand("micro traffic %s", h)
		}
		_, rel, err := s.MustRelease(t.ReleaseRef)
		if err != nil {
			return nil, err
		}
		from = rel
	}
	if from == nil {
		return nil, Errorf(Conflict, "%s%s has no target yet", h, route.Path).WithCommand("micro map APP %s", h)
	}
	return from, nil
}

// targets are the route's while the fade is at its step.
func (f *Crossfade) targets() []Target {
	whole, share := 100, f.Share()
	if share != math.Trunc(share) {
		whole = 10_000
	}
	weight := int(math.Round(share * float64(whole) / 100))
	return []Target{
		{ReleaseRef: f.From, Weighted: true, Weight: whole - weight},
		{ReleaseRef: f.To, Weighted: true, Weight: weight},
	}
}

// Is says whether f is the fade that o was when it was seen, at the same step still.
func (f *Crossfade) Is(o *Crossfade) bool {
	return f != nil && f.Step == o.Step && f.To == o.To && f.Started.Equal(o.Started)
}

// StepCrossfade returns the changes that take a fade from the step that it was seen at to a share in percent, of
// which 100 is its end. They are none where it is not there any more. figures are what the step has shown.
func (s *State) StepCrossfade(h Host, path string, seen *Crossfade, share float64, warm time.Time, figures *FadeFigures, at Stamp) []Change {
	vhost, route, fade := s.fade(h, path)
	if !fade.Is(seen) || fade.Paused {
		return nil
	}
	if most := fade.most(); share > most {
		if fade.Share() >= most {
			return fade.pauseAtLimit(vhost, route, at)
		}
		share = most
	}
	if share < 100 {
		next := *route
		moved := *fade
		moved.Step, moved.Percent, moved.Since = fade.Step+1, share, at.At
		moved.MovedBy, moved.Reason = at.By, at.Why
		if fade.Step == 0 {
			moved.First = at.At
		}
		next.Crossfade, next.Targets = moved.noted(at, "step", figures), moved.targets()
		return []Change{Put(vhost.With(next))}
	}
	var changes []Change
	to := fade.To
	if app, ok := s.App(to.AppRef); ok && fade.From.AppRef == to.AppRef {
		// Inside one app the release becomes current, and the route follows what is.
		to = app.Release(0)
		changes = s.makeCurrent(app, fade.To.N, warm, at)
		// Its manifest may have given the host more routes.
		vhost, route, _ = s.Apply(s.Rev()+1, changes).fade(h, path)
	}
	next := *route
	next.Crossfade = nil
	next.Faded = &Faded{From: fade.From, To: fade.To, Ended: at.At, Finished: true, Reason: at.Why, Share: 100, By: at.By}
	next.Targets = []Target{{ReleaseRef: to}}
	return s.endFade(append(changes, Put(vhost.With(next))), h, path, fade, figures, at, next.Faded)
}

// endFade adds the record of a fade that ends to the changes that end it.
func (s *State) endFade(changes []Change, h Host, path string, f *Crossfade, figures *FadeFigures, at Stamp, end *Faded) []Change {
	what := "aborted"
	if end.Finished {
		what = "finished"
	}
	at.Why = end.Reason
	ended := *f
	ended.Percent = end.Share
	if !end.Finished {
		ended.Percent = 0
		ended.Step = 0
	}
	r := ended.noted(at, what, figures).Record(h, path)
	r.Ended, r.EndedBy, r.Finished, r.Reason = end.Ended, end.By, end.Finished, end.Reason
	return append(changes, s.Apply(s.Rev()+1, changes).keepRecord(r)...)
}

// AbortCrossfade returns the changes that route a host back to the targets from before its cross-fade. Where nothing
// is to run there any more it stays as it is. figures are what the step has shown, as far as they are known.
func (s *State) AbortCrossfade(h Host, path, reason string, figures *FadeFigures, at Stamp) ([]Change, error) {
	vhost, route, fade := s.fade(h, path)
	if fade == nil {
		return nil, noFade(h, path)
	}
	if rel, ok := s.Release(fade.From); fade.Step > 0 && (!ok || !s.Runs(rel)) {
		return nil, Errorf(Conflict, "%s is stopped, so %s%s cannot be routed back to it", fade.From, h, path).WithCommand("micro start %s", fade.From)
	}
	next := *route
	next.Crossfade, next.Targets = nil, s.back(fade)
	next.Faded = &Faded{From: fade.From, To: fade.To, Ended: at.At, Reason: reason, Share: fade.Share(), By: at.By}
	changes := []Change{Put(vhost.With(next))}
	if rel, ok := s.Release(fade.To); ok && fade.Made && rel.Failure == nil {
		stopped := *rel
		stopped.Stopped, stopped.Staged = true, false
		changes = append(changes, Put(&stopped))
	}
	return latest(s.endFade(changes, h, path, fade, figures, at, next.Faded)), nil
}

// back are the targets from before a fade. They follow what is current, unless the fade of another host
// has made current what this one is led back from.
func (s *State) back(f *Crossfade) []Target {
	app, ok := s.App(f.From.AppRef)
	if !ok || f.From.AppRef != f.To.AppRef || app.Current != f.To.N {
		return f.Before
	}
	targets := slices.Clone(f.Before)
	for i, t := range targets {
		if t.ReleaseRef == app.Release(0) {
			targets[i].ReleaseRef = f.From
		}
	}
	return targets
}

// PauseCrossfade returns the changes that hold a fade at its step, or let it go on from there. Its time
// at the step begins anew.
func (s *State) PauseCrossfade(h Host, path string, paused bool, at Stamp) ([]Change, error) {
	vhost, route, fade := s.fade(h, path)
	if fade == nil {
		return nil, noFade(h, path)
	}
	if fade.Paused == paused {
		return nil, nil
	}
	next, held := *route, *fade
	held.Paused, held.Since, held.MovedBy = paused, at.At, at.By
	what := "resumed"
	if paused {
		what = "paused"
	}
	next.Crossfade = held.noted(at, what, nil)
	return []Change{Put(vhost.With(next))}, nil
}

func noFade(h Host, path string) error {
	return Errorf(Conflict, "%s%s is not being cross-faded", h, path).WithCommand("micro routes")
}

func (s *State) fade(h Host, path string) (*VirtualHost, *Route, *Crossfade) {
	vhost, ok := s.VirtualHost(h)
	if !ok {
		return nil, nil, nil
	}
	route, ok := vhost.Route(path)
	if !ok {
		return nil, nil, nil
	}
	return vhost, route, route.Crossfade
}

func (s *State) mustRoute(h Host, path string) (*VirtualHost, *Route, error) {
	vhost, err := s.mustVirtualHost(h)
	if err != nil {
		return nil, nil, err
	}
	route, ok := vhost.Route(path)
	if !ok {
		return nil, nil, Errorf(NotFound, "host %s has no route %s", h, path).WithCommand("micro routes")
	}
	return vhost, route, nil
}

// notFading reports a fade that is under way: nothing else may change the route then.
func (r *Route) notFading(h Host) error {
	if r.Crossfade == nil {
		return nil
	}
	return crossfading(h, r.Path, r.Crossfade)
}

// appNotFading reports a fade between releases of the app, whose end would make one of them current.
func (s *State) appNotFading(r AppRef) error { return s.appNotFadingBut(r.Release(0)) }

// appNotFadingBut is appNotFading, but for fades to one release.
func (s *State) appNotFadingBut(to ReleaseRef) error {
	for vhost := range s.HostsOf(to.AppRef) {
		for _, route := range vhost.Routes {
			if f := route.Crossfade; f != nil && f.From.AppRef == to.AppRef && f.To.AppRef == to.AppRef && f.To != to {
				return route.notFading(vhost.Host)
			}
		}
	}
	return nil
}

// Dwell is how long each step holds: the last one is the end, and takes no time.
func (f *Crossfade) Dwell() time.Duration {
	return time.Duration(f.Over) / time.Duration(max(1, len(f.Steps)-1))
}
