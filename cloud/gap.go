package cloud

import (
	"fmt"
	"time"
)

// GapNotice says that an app will answer nothing while it switches to a release, and for how long that was so
// last time. It is "" where something serves all the time. The release need not be written yet.
func (s *State) GapNotice(to *Release) string {
	app, ok := s.App(to.AppRef)
	current, runs := s.Release(to.AppRef.Release(0))
	if !ok || !runs || !s.Runs(current) || to.Staged || to.Spec.Strategy.Kind != Recreate || current.Formation.Instances() == 0 {
		return ""
	}
	what := fmt.Sprintf("%s ends before %s starts", current.ReleaseRef, to.ReleaseRef)
	if to.N == current.N {
		if current.Formation.Instances() > 1 {
			return "" // one at a time
		}
		what = "its instance ends before the next one starts"
	}
	long := "for as long as a stop and a start take"
	if current.Switch > 0 {
		long = fmt.Sprintf("for about %s, as long as last time", time.Duration(current.Switch).Round(100*time.Millisecond))
	}
	return fmt.Sprintf("strategy recreate: %s, so %s does not answer in between, %s", what, app.AppRef, long)
}

// GapNoticeOf is the GapNotice of changes to s: of a switch that they begin, or of a current release whose
// instances they replace.
func (s *State) GapNoticeOf(changes []Change) string {
	for _, c := range changes {
		switch o := c.Object.(type) {
		case *App:
			was, ok := s.App(o.AppRef)
			if !ok || o.Rollout == nil || was.switchesTo(o.Rollout.To) {
				continue
			}
			if to, ok := s.Apply(s.rev+1, changes).Release(o.Release(o.Rollout.To)); ok {
				return s.GapNotice(to)
			}
		case *Release:
			was, ok := s.Release(o.ReleaseRef)
			app, known := s.App(o.AppRef)
			if ok && known && app.Current == o.N && o.Generation != was.Generation {
				return s.GapNotice(o)
			}
		}
	}
	return ""
}

// switchTime is how long the switch that ends now has taken the app away; 0 is unknown. A release command runs
// while the old release still serves, and when it ended is not kept.
func (r *Release) switchTime(rollout *Rollout, from *Release, now time.Time) Duration {
	_, command := r.Spec.Processes[ReleaseCommand]
	if rollout == nil || rollout.To != r.N || rollout.Strategy.Kind != Recreate || command || from == nil {
		return 0
	}
	return Duration(now.Sub(rollout.Started))
}
