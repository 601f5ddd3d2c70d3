package handler

import (
	"context"
	"fmt"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// patience is added to what a release's processes may take to start and stop: when nothing at all has
// changed for so long, waiting ends.
const patience = time.Minute

// settle waits until what is desired of a release is so, and tells of each change on the way; told
// returns false to give up. The error says how it ended otherwise.
func (h *Handler) settle(ctx context.Context, ref cloud.ReleaseRef, told func(api.Rollout) bool) (api.Outcome, error) {
	view := h.view(ctx)
	var last api.Rollout
	began := h.Now()
	switched := false // it was on its way to be current
	for {
		now, done, err := rollout(view, ref, began, switched)
		if err != nil {
			h.restored(ctx, view, ref)
			return api.Outcome{}, err
		}
		if now != last {
			if last = now; !told(now) {
				return api.Outcome{}, cloud.Errorf(cloud.Interrupted, "nobody waits for release %s any more", ref)
			}
		}
		rel, ok := view.State.Release(ref)
		if done && ok {
			return h.outcome(view, rel), nil
		}
		app, ok := view.State.App(ref.AppRef)
		switched = switched || ok && app.Rollout != nil && app.Rollout.To == ref.N
		quiet, cancel := context.WithTimeout(ctx, limitOf(rel))
		view, err = h.unlike(quiet, view, ref, last)
		cancel()
		if ctx.Err() != nil {
			return api.Outcome{}, context.Cause(ctx)
		}
		if err != nil {
			return api.Outcome{}, cloud.Errorf(cloud.Unavailable, "release %s is not there yet, and nothing of it has changed for %s", ref, limitOf(rel)).
				WithHint("micro ps %s", ref.AppRef)
		}
	}
}

// restored waits, where the current release had to end before this one could start and this one failed,
// until the current one serves again: the app is to be as it was when somebody hears of the failure.
func (h *Handler) restored(ctx context.Context, view cloud.View, ref cloud.ReleaseRef) {
	app, failed, err := view.State.MustRelease(ref)
	if err != nil || failed.Failure == nil || failed.Spec.Strategy.Kind != cloud.Recreate || app.Current == 0 || app.Rollout != nil {
		return
	}
	current, ok := view.State.Release(app.Release(app.Current))
	if !ok || current.N == ref.N {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, limitOf(current))
	defer cancel()
	// What keeps it from coming back is seen in the app, and no part of why the other failed.
	_, _ = h.settle(ctx, current.ReleaseRef, func(api.Rollout) bool { return true })
}

// unlike waits for a view in which the release stands otherwise than before.
func (h *Handler) unlike(ctx context.Context, view cloud.View, ref cloud.ReleaseRef, before api.Rollout) (cloud.View, error) {
	was := view
	for {
		var err error
		if view, err = h.Runner.Changed(ctx, view); err != nil {
			return view, err
		}
		old, _ := was.State.App(ref.AppRef)
		app, _ := view.State.App(ref.AppRef)
		if now, done, err := rollout(view, ref, time.Time{}, false); err != nil || done || now != before || app != old {
			return view, nil
		}
	}
}

func limitOf(rel *cloud.Release) time.Duration {
	limit := time.Duration(0)
	if rel != nil {
		for name, p := range rel.Spec.Processes {
			d := time.Duration(p.Startup + p.StopGrace)
			if name == cloud.ReleaseCommand {
				d = 15 * time.Minute
			}
			limit = max(limit, d)
		}
	}
	return limit + patience
}

// rollout says how far a release has come, whether it is where it is to be, and what keeps it from ever
// getting there. Crashes before began are not held against it.
func rollout(v cloud.View, ref cloud.ReleaseRef, began time.Time, switched bool) (r api.Rollout, done bool, err error) {
	app, rel, err := v.State.MustRelease(ref)
	if err != nil {
		return r, false, cloud.Errorf(cloud.Conflict, "release %s was deleted meanwhile", ref).WithHint("micro releases %s", ref.AppRef)
	}
	r = api.Rollout{Release: rel.N, Phase: v.State.PhaseOf(rel)}
	stale, left, formation := 0, 0, v.State.Wanted(rel)
	for i := range v.Instances.OfRelease(ref) {
		if i.Phase != cloud.InstanceExited {
			left++
		}
		wanted := i.Generation >= rel.Generation && i.Index < formation[i.Process].Instances
		switch {
		case i.Phase == cloud.InstanceReady && wanted:
			r.Ready++
		case i.Phase.Live() && !wanted && i.Process != cloud.ReleaseCommand:
			stale++
		case i.Phase == cloud.InstanceDraining || i.Phase == cloud.InstanceStopping:
			r.Draining++
		}
		if i.Phase.Live() && i.Reason != "" {
			r.Waiting = fmt.Sprintf("%s.%d %s", i.Process, i.Index, i.Reason)
		}
	}
	switch r.Phase {
	case cloud.PhaseFailed:
		return r, false, deployFailed(rel)
	case cloud.PhaseSuperseded:
		return r, false, superseded(app, rel)
	case cloud.PhaseRetired, cloud.PhasePruned, cloud.PhaseStopped:
		if switched {
			return r, false, givenUp(v, rel)
		}
		return r, left == 0, nil
	case cloud.PhaseStarting:
		r.Instances = formation.Instances()
		return r, false, nil
	case cloud.PhaseCurrent, cloud.PhaseStaged, cloud.PhaseRouted, cloud.PhaseWarm:
		r.Instances = formation.Instances()
		if r.Phase == cloud.PhaseWarm && switched {
			return r, false, givenUp(v, rel)
		}
		if err := crashing(v, rel, began); err != nil {
			return r, false, err
		}
		return r, r.Ready >= r.Instances && stale == 0, nil
	}
	return r, false, nil
}

// deployFailed is why a release never came up.
func deployFailed(rel *cloud.Release) error {
	f := rel.Failure
	e := cloud.Errorf(cloud.DeployFailed, "release %s failed: %s", rel.ReleaseRef, f.Reason)
	if e.Hint = f.Hint; e.Hint == "" {
		e.Hint = fmt.Sprintf("micro logs %s", rel.ReleaseRef)
	}
	if len(f.Lines) == 0 {
		return e
	}
	return &api.Failed{Err: e, Lines: f.Lines}
}

func superseded(app *cloud.App, rel *cloud.Release) error {
	by := app.Last
	switch {
	case app.Rollout != nil:
		by = app.Rollout.To
	case app.Current > rel.N:
		by = app.Current
	case by == rel.N: // a roll-back came between
		return cloud.Errorf(cloud.Conflict, "release %s was given up: app %s has gone back to r%d", rel.ReleaseRef, app.AppRef, app.Current).
			WithHint("micro releases %s", app.AppRef)
	}
	return cloud.Errorf(cloud.Conflict, "release %s was superseded by r%d", rel.ReleaseRef, by).WithHint("micro releases %s", app.AppRef)
}

// givenUp is why a release that was up once did not become current again.
func givenUp(v cloud.View, rel *cloud.Release) error {
	why := "the switch to it was given up"
	for c := range v.Instances.AllCrashes() {
		if c.ReleaseRef == rel.ReleaseRef && c.Reason != "" {
			why = fmt.Sprintf("%s.%d %s", c.Process, c.Index, c.Reason)
		}
	}
	return cloud.Errorf(cloud.DeployFailed, "release %s did not become current: %s", rel.ReleaseRef, why).WithHint("micro logs %s", rel.ReleaseRef)
}

// crashing says that an instance keeps ending since began.
func crashing(v cloud.View, rel *cloud.Release, began time.Time) error {
	for name, scale := range v.State.Wanted(rel) {
		for index := range scale.Instances {
			slot := cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: name, Index: index}
			c, ok := v.Instances.Crashes(slot)
			if !ok || c.Generation < rel.Generation || c.Count < flapping && !c.Fatal || c.Last.At.Before(began) {
				continue
			}
			why := c.Reason
			if why == "" {
				why = fmt.Sprintf("exited with code %d", c.Last.Code)
			}
			return cloud.Errorf(cloud.DeployFailed, "%s.%d of release %s keeps ending: %s", name, index, rel.ReleaseRef, why).
				WithHint("micro logs %s --process %s", rel.ReleaseRef, name)
		}
	}
	return nil
}

// outcome is what there is to say of a release that is where it is to be.
func (h *Handler) outcome(v cloud.View, rel *cloud.Release) api.Outcome {
	domain := h.domain()
	out := api.Outcome{Group: rel.Group, App: rel.App, Release: rel.N, Phase: v.State.PhaseOf(rel), Addresses: []string{}}
	if out.Phase == cloud.PhaseCurrent {
		out.Addresses = append(out.Addresses, h.Node.URLs(domain.App(rel.AppRef))...)
	}
	if v.State.Runs(rel) {
		out.Addresses = append(out.Addresses, h.Node.URLs(domain.Release(rel.ReleaseRef, rel.Created))...)
	}
	return out
}

// viewTimeout is how long a view may lag behind what was written before an older one is good enough.
const viewTimeout = 2 * time.Second

// view is the runner's view, with all in it that was written before: who has written reads what he wrote.
func (h *Handler) view(ctx context.Context) cloud.View {
	written := h.Store.State().Rev()
	view := h.Runner.View()
	if view.State.Rev() >= written {
		return view
	}
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	for view.State.Rev() < written {
		next, err := h.Runner.Changed(ctx, view)
		if err != nil {
			return view
		}
		view = next
	}
	return view
}
