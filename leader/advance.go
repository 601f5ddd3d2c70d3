package leader

import (
	"fmt"
	"maps"
	"slices"
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
	// proof is how long an instance must be ready to count where the one before it in its place ended.
	proof = 5 * time.Second
	// slack is added to a release's own start times before it is given up as a whole.
	slack = time.Minute
)

// Advance returns what is to be written of an app's releases that are on their way up, and when to look
// again although nothing changes (zero: never).
func Advance(v cloud.View, ref cloud.AppRef, now time.Time) (decisions []Decision, again time.Time) {
	app, ok := v.State.App(ref)
	if !ok {
		return nil, again
	}
	sooner := func(t time.Time) {
		if again.IsZero() || t.Before(again) {
			again = t
		}
	}
	if app.Rollout != nil {
		if rel, ok := v.State.Release(app.Release(app.Rollout.To)); ok {
			d, deadline := advance(v, rel, app.Rollout, now)
			decisions = append(decisions, d...)
			sooner(deadline)
		}
	}
	for rel := range v.State.Releases(ref) {
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
	return decisions, again
}

// advance judges one release; rollout is nil for one that is only staged.
func advance(v cloud.View, rel *cloud.Release, rollout *cloud.Rollout, now time.Time) (decisions []Decision, deadline time.Time) {
	fail := func(reason, hint string) []Decision {
		return []Decision{{Verdict: Failed, Release: rel.ReleaseRef, Failure: cloud.Failure{At: now, Reason: reason, Hint: hint}}}
	}
	logs := fmt.Sprintf("micro logs %s", rel.ReleaseRef)
	started := rel.Since
	if rollout != nil {
		started = rollout.Started
	}
	if v.State.AwaitsCommand(rel) {
		deadline = started.Add(commandLimit)
		slot := cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: cloud.ReleaseCommand}
		for i := range v.Instances.OfSlot(slot) {
			if i.Phase != cloud.InstanceExited || i.Exit == nil {
				continue
			}
			if i.Exit.Code == 0 {
				return []Decision{{Verdict: Released, Release: rel.ReleaseRef}}, deadline
			}
			return fail("the release command "+i.Exit.Describe(i.Reason), hint(rel, i.Slot, *i.Exit)), deadline
		}
		if lacking := shortageOf(v, rel); now.After(deadline) && lacking != nil {
			return fail(fmt.Sprintf("the machine could not run its release command within %s: it %s", commandLimit, lacking.Reason), "micro doctor"), deadline
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
	if _, has := rel.Spec.Processes[cloud.ReleaseCommand]; has && (rollout != nil || rel.Prepare) {
		deadline = deadline.Add(commandLimit)
	}
	if rollout != nil && rollout.Strategy.Kind == cloud.Recreate {
		deadline = deadline.Add(timeToEnd(v.State, rel.AppRef))
	}
	missing := 0
	for _, name := range slices.Sorted(maps.Keys(rel.Formation)) {
		if name == cloud.ReleaseCommand {
			continue
		}
		for index := range rel.Formation[name].Instances {
			slot := cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: name, Index: index}
			c, crashed := v.Instances.Crashes(slot)
			crashed = crashed && c.Generation == rel.Generation && !c.Last.At.Before(started)
			if since, ok := readySince(v, slot, rel); ok {
				// One that has ended already on its way up must last a while to count as well: its port may
				// have answered just before it ends again.
				if settled := since.Add(proof); crashed && now.Before(settled) {
					missing++
					deadline = earlier(deadline, settled)
				}
				continue
			}
			missing++
			if crashed && (c.Fatal || c.Count >= crashesToFail) {
				return fail(fmt.Sprintf("%s.%d %s", name, index, c.Last.Describe(c.Reason)), hint(rel, slot, c.Last)), deadline
			}
		}
	}
	switch {
	case missing == 0 && rollout != nil:
		return []Decision{{Verdict: Settled, Release: rel.ReleaseRef}}, deadline
	case missing == 0:
		return []Decision{{Verdict: Up, Release: rel.ReleaseRef}}, deadline
	case now.After(deadline):
		if lacking := shortageOf(v, rel); lacking != nil {
			// That is no verdict about the release: it is given time until there is one.
			if deadline = deadline.Add(shortageLimit); !now.After(deadline) {
				return nil, deadline
			}
			return fail(fmt.Sprintf("the machine could not run it within %s: %s.%d %s", shortageLimit, lacking.Process, lacking.Index, lacking.Reason), "micro doctor"), deadline
		}
		return fail(notReady(v, rel, missing), logs), deadline
	}
	return nil, deadline
}

// shortageLimit is how long beyond its time a release may wait for a machine that lacks something.
const shortageLimit = 15 * time.Minute

// shortageOf returns an instance that only the machine keeps from being ready, nil where there is none.
func shortageOf(v cloud.View, rel *cloud.Release) *cloud.Instance {
	for i := range v.Instances.OfRelease(rel.ReleaseRef) {
		if i.Shortage && i.Phase == cloud.InstanceStarting {
			return i
		}
	}
	return nil
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

// timeToEnd is how long the instances of the app's current release may take to end.
func timeToEnd(s *cloud.State, app cloud.AppRef) time.Duration {
	longest := time.Duration(0)
	if cur, ok := s.Release(app.Release(0)); ok {
		for _, p := range cur.Spec.Processes {
			longest = max(longest, cloud.DrainLimit+time.Duration(p.StopGrace))
		}
	}
	return longest
}

// notReady says what keeps a release that has run out of time from being ready.
func notReady(v cloud.View, rel *cloud.Release, missing int) string {
	for i := range v.Instances.OfRelease(rel.ReleaseRef) {
		if i.Phase.Live() && i.Phase != cloud.InstanceReady && i.Reason != "" {
			return fmt.Sprintf("%d of %d instances were not ready in time: %s.%d %s", missing, rel.Formation.Instances(), i.Process, i.Index, i.Reason)
		}
	}
	text := fmt.Sprintf("%d of %d instances were not ready in time", missing, rel.Formation.Instances())
	if a, ok := v.State.Assignment(rel.ReleaseRef); ok && a.Reason != "" {
		text += ": " + a.Reason
	}
	return text
}

// hint is what to try after an instance ended as it did.
func hint(rel *cloud.Release, slot cloud.Slot, e cloud.Exit) string {
	if e.OOM {
		return fmt.Sprintf("micro push --app %s -m %s", rel.App, cloud.FormatSize(2*rel.Formation[slot.Process].Memory))
	}
	logs := fmt.Sprintf("micro logs %s", rel.ReleaseRef)
	if e.Code == 0 {
		return logs + "; a server must stay in the foreground, or its instance ends with the command that started it"
	}
	return logs
}

// readySince says whether the slot has a ready instance of the release as it is to run now, and since when.
func readySince(v cloud.View, slot cloud.Slot, rel *cloud.Release) (since time.Time, ok bool) {
	for i := range v.Instances.OfSlot(slot) {
		if i.Phase == cloud.InstanceReady && i.Generation >= rel.Generation && sameRelease(i, rel) {
			return i.Since, true
		}
	}
	return time.Time{}, false
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Apply returns the changes that carry out a decision in the state as it is now, which may have moved on since.
func (d Decision) Apply(s *cloud.State, warm time.Duration, at cloud.Stamp) []cloud.Change {
	app, ok := s.App(d.Release.AppRef)
	if !ok {
		return nil
	}
	switching := app.Rollout != nil && app.Rollout.To == d.Release.N
	switch d.Verdict {
	case Settled:
		if switching {
			return s.FinishRollout(d.Release.AppRef, at.At.Add(warm), at)
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
		return s.Cool(d.Release.AppRef, at)
	}
	return nil
}
