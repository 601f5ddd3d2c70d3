package runtime

import (
	"fmt"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Verdict is what has become of a release that is on its way up.
type Verdict string

// The verdicts.
const (
	Settled  Verdict = "settled"  // it is up, and becomes current
	Up       Verdict = "up"       // it is up, and stays staged
	Released Verdict = "released" // its release command has ended well
	Failed   Verdict = "failed"
	Cooled   Verdict = "cooled" // its warm time is over
)

// Decision is a verdict on a release.
type Decision struct {
	Verdict Verdict
	Release cloud.ReleaseRef
	Failure cloud.Failure // of Failed; without the app's last lines
}

const (
	// crashesToFail is how often in a row an instance may end before its release counts as failed.
	crashesToFail = 3
	// slack is added to a release's own start times before it is given up as a whole.
	slack = time.Minute
)

// Advance returns what is to be written of the releases that are on their way up, and when to look
// again although nothing changes (zero: never).
func Advance(v cloud.View, now time.Time) (decisions []Decision, again time.Time) {
	sooner := func(t time.Time) {
		if again.IsZero() || t.Before(again) {
			again = t
		}
	}
	for app := range v.State.Apps("") {
		if app.Rollout != nil {
			if rel, ok := v.State.Release(app.Release(app.Rollout.To)); ok {
				d, deadline := advance(v, rel, app.Rollout, now)
				decisions = append(decisions, d...)
				sooner(deadline)
			}
		}
		for rel := range v.State.Releases(app.AppRef) {
			if rel.Warm != nil && !now.Before(*rel.Warm) {
				decisions = append(decisions, Decision{Verdict: Cooled, Release: rel.ReleaseRef})
			} else if rel.Warm != nil {
				sooner(*rel.Warm)
			}
			if rel.Staged && !rel.Up && !rel.Stopped && (app.Rollout == nil || app.Rollout.To != rel.N) {
				d, deadline := advance(v, rel, nil, now)
				decisions = append(decisions, d...)
				sooner(deadline)
			}
		}
	}
	return decisions, again
}

// advance judges one release; rollout is nil for one that is only staged.
func advance(v cloud.View, rel *cloud.Release, rollout *cloud.Rollout, now time.Time) (decisions []Decision, deadline time.Time) {
	fail := func(reason, hint string) []Decision {
		return []Decision{{Verdict: Failed, Release: rel.ReleaseRef, Failure: cloud.Failure{At: now, Reason: reason, Hint: hint}}}
	}
	logs := fmt.Sprintf("micro logs %s", rel.ReleaseRef)
	started := rel.Created
	if rollout != nil {
		started = rollout.Started
	}
	if rollout != nil && !rollout.Released {
		deadline = started.Add(commandLimit)
		slot := cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: cloud.ReleaseCommand}
		for i := range v.Instances.OfSlot(slot) {
			if i.Phase != cloud.InstanceExited || i.Exit == nil {
				continue
			}
			if i.Exit.Code == 0 {
				return []Decision{{Verdict: Released, Release: rel.ReleaseRef}}, deadline
			}
			return fail(fmt.Sprintf("the release command %s", describe(*i.Exit, i.Reason)), logs), deadline
		}
		if now.After(deadline) {
			return fail(fmt.Sprintf("the release command has not ended within %s", commandLimit), logs), deadline
		}
		return nil, deadline
	}
	deadline = started.Add(slack)
	for name, p := range rel.Spec.Processes {
		deadline = later(deadline, started.Add(time.Duration(p.Startup)*time.Duration(waves(rel, name))+slack))
	}
	if rollout != nil && rel.Spec.Processes[cloud.ReleaseCommand].Command != "" {
		deadline = deadline.Add(commandLimit)
	}
	missing := 0
	for name, scale := range rel.Formation {
		if name == cloud.ReleaseCommand {
			continue
		}
		for index := range scale.Instances {
			slot := slotOf(rel, name, index)
			if !serves(v, slot, rel.Generation) {
				missing++
			}
			if c, ok := v.Instances.Crashes(slot); ok && c.Generation == rel.Generation && c.Last.At.After(started) && (c.Fatal || c.Count >= crashesToFail) {
				return fail(fmt.Sprintf("%s.%d %s", name, index, describe(c.Last, c.Reason)), logs), deadline
			}
		}
	}
	switch {
	case missing == 0 && rollout != nil:
		return []Decision{{Verdict: Settled, Release: rel.ReleaseRef}}, deadline
	case missing == 0:
		return []Decision{{Verdict: Up, Release: rel.ReleaseRef}}, deadline
	case now.After(deadline):
		return fail(fmt.Sprintf("%d instances were not ready in time", missing), logs), deadline
	}
	return nil, deadline
}

// commandLimit is how long a release command may run.
const commandLimit = 15 * time.Minute

// waves is how many times in a row instances of the process are started.
func waves(rel *cloud.Release, name cloud.ProcessName) int {
	n, batch := rel.Formation[name].Instances, rel.Spec.Strategy.Batch
	if batch == 0 {
		return 1
	}
	return max(1, (n+batch-1)/batch)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// serves says whether the slot has a ready instance of the generation.
func serves(v cloud.View, slot cloud.Slot, generation int) bool {
	for i := range v.Instances.OfSlot(slot) {
		if i.Phase == cloud.InstanceReady && i.Generation >= generation {
			return true
		}
	}
	return false
}

// describe says in words how an instance ended; reason is what is known beyond its exit.
func describe(e cloud.Exit, reason string) string {
	switch {
	case e.OOM:
		return "ran out of memory"
	case reason != "":
		return reason
	case e.Code > 128 && e.Code <= 128+64:
		return fmt.Sprintf("was ended by signal %d", e.Code-128)
	}
	return fmt.Sprintf("exited with code %d", e.Code)
}

// apply turns a decision into changes of the state as it is now, which may have moved on since.
func (d Decision) apply(s *cloud.State, warm time.Duration, at cloud.Stamp) []cloud.Change {
	app, ok := s.App(d.Release.AppRef)
	if !ok {
		return nil
	}
	switching := app.Rollout != nil && app.Rollout.To == d.Release.N
	switch d.Verdict {
	case Settled:
		if switching {
			return s.Settle(d.Release.AppRef, at.At.Add(warm), at)
		}
	case Released:
		return s.MarkReleased(d.Release)
	case Up:
		return s.MarkUp(d.Release)
	case Failed:
		if rel, ok := s.Release(d.Release); ok && (switching || rel.Staged && !rel.Up) {
			return s.Fail(d.Release, d.Failure)
		}
	case Cooled:
		return s.Cool(at)
	}
	return nil
}
