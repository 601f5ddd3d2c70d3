package deploy

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

const (
	// patience is added to the time that a release's processes may take to start and stop. When nothing has
	// changed for so long, waiting ends.
	patience = time.Minute
	// viewTimeout is how long to wait for a view that has everything that was written; an older one is good
	// enough then.
	viewTimeout = 2 * time.Second
)

// Await waits until what is desired of a release has come true. It yields a Rollout whenever it changed,
// then the Outcome, or an error that says why it never will.
//
// switching says that the app was switching to the release before: a release that has been given up since is
// no success then.
func (d *Deployer) Await(ctx context.Context, ref cloud.ReleaseRef, switching bool) (iter.Seq2[api.WaitEvent, error], error) {
	if _, _, err := d.view(ctx).State.MustRelease(ref); err != nil {
		return nil, err
	}
	return func(yield func(api.WaitEvent, error) bool) {
		gone := false
		out, err := d.awaitRollout(ctx, ref, switching, func(r api.Rollout) bool {
			gone = !yield(api.WaitEvent{Rollout: &r}, nil)
			return !gone
		})
		switch {
		case gone:
		case err != nil:
			yield(api.WaitEvent{}, err)
		default:
			d.everywhere(ctx)
			yield(api.WaitEvent{Outcome: &out}, nil)
		}
	}, nil
}

// everywhere waits until each living node answers requests with what this one knows.
func (d *Deployer) everywhere(ctx context.Context) {
	if d.cfg.Everywhere != nil {
		d.cfg.Everywhere(ctx, d.view(ctx).State.Rev())
	}
}

// view returns a view that has everything that was written before: who has written reads its own writes.
func (d *Deployer) view(ctx context.Context) cloud.View {
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	return d.cfg.Views.AtLeast(ctx, d.cfg.Store.State().Rev())
}

// awaitRollout waits until what is desired of a release has come true, and calls tell for each change on
// the way; tell returns false to end waiting. The error says why the roll-out did not succeed; switched is
// whether the app has been switching to the release.
func (d *Deployer) awaitRollout(ctx context.Context, ref cloud.ReleaseRef, switched bool, tell func(api.Rollout) bool) (api.Outcome, error) {
	view := d.view(ctx)
	var last api.Rollout
	began := d.cfg.Now()
	for {
		if app, ok := view.State.App(ref.AppRef); ok && app.Rollout != nil && app.Rollout.To == ref.N {
			switched = true
		}
		now, done, err := rollout(view, ref, began, switched)
		if err != nil {
			d.awaitRestored(ctx, view, ref)
			return api.Outcome{}, err
		}
		if now != last {
			if last = now; !tell(now) {
				return api.Outcome{}, cloud.Errorf(cloud.Interrupted, "nobody waits for release %s any longer", ref)
			}
		}
		rel, ok := view.State.Release(ref)
		if done && ok {
			return d.outcome(view, rel), nil
		}
		quiet, cancel := context.WithTimeout(ctx, limitOf(rel))
		view, err = d.awaitChange(quiet, view, ref, last)
		cancel()
		if ctx.Err() != nil {
			return api.Outcome{}, context.Cause(ctx)
		}
		if err != nil {
			return api.Outcome{}, cloud.Errorf(cloud.Unavailable, "release %s is not ready, and nothing about it has changed for %s", ref, limitOf(rel)).
				WithCommand("micro ps %s", ref.AppRef)
		}
	}
}

// awaitRestored waits until the app's current release serves again, where it had to stop for the release ref
// (strategy recreate), and ref failed: when somebody hears of the failure, the app is as it was before.
func (d *Deployer) awaitRestored(ctx context.Context, view cloud.View, ref cloud.ReleaseRef) {
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
	// Why the current release does not come back is no part of why the other one failed: the app shows it.
	_, _ = d.awaitRollout(ctx, current.ReleaseRef, false, func(api.Rollout) bool { return true })
}

// awaitChange waits for a view in which the release's roll-out or its app differ from before.
func (d *Deployer) awaitChange(ctx context.Context, view cloud.View, ref cloud.ReleaseRef, before api.Rollout) (cloud.View, error) {
	was := view
	for {
		var err error
		if view, err = d.cfg.Views.Changed(ctx, view); err != nil {
			return view, err
		}
		old, _ := was.State.App(ref.AppRef)
		app, _ := view.State.App(ref.AppRef)
		if now, done, err := rollout(view, ref, time.Time{}, before.Switching); err != nil || done || now != before || app != old {
			return view, nil
		}
	}
}

// limitOf returns how long nothing may change about a release until waiting for it ends.
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

// rollout returns how far a release has come and whether it is done. An error says why it never will be;
// crashes before began don't count.
func rollout(v cloud.View, ref cloud.ReleaseRef, began time.Time, switched bool) (r api.Rollout, done bool, err error) {
	app, rel, err := v.State.MustRelease(ref)
	if err != nil {
		return r, false, cloud.Errorf(cloud.Conflict, "release %s was deleted meanwhile", ref).WithCommand("micro releases %s", ref.AppRef)
	}
	r = api.Rollout{Release: rel.N, Phase: v.State.PhaseOf(rel), Switching: switched}
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
		return r, false, errFailed(rel)
	case cloud.PhaseSuperseded:
		return r, false, errOvertaken(app, rel)
	case cloud.PhaseRetired, cloud.PhasePruned, cloud.PhaseStopped:
		if switched {
			return r, false, errGivenUp(v, rel)
		}
		return r, left == 0, nil
	case cloud.PhaseStarting:
		r.Instances = formation.Instances()
		return r, false, nil
	case cloud.PhaseCurrent, cloud.PhaseStaged, cloud.PhaseRouted, cloud.PhaseWarm:
		r.Instances = formation.Instances()
		if r.Phase == cloud.PhaseWarm && switched {
			return r, false, errGivenUp(v, rel)
		}
		if err := checkCrashes(v, rel, began); err != nil {
			return r, false, err
		}
		return r, r.Ready >= r.Instances && stale == 0, nil
	}
	return r, false, nil
}

// outcome describes a release whose roll-out is done.
func (d *Deployer) outcome(v cloud.View, rel *cloud.Release) api.Outcome {
	domain := d.cfg.Domain
	out := api.Outcome{Group: rel.Group, App: rel.App, Release: rel.N, Phase: v.State.PhaseOf(rel), Addresses: []string{}}
	app, ok := v.State.App(rel.AppRef)
	if _, web := rel.Spec.Processes[cloud.Web]; !web || ok && app.Service != nil {
		return out // nothing of it answers requests
	}
	if out.Phase == cloud.PhaseCurrent {
		out.Addresses = append(out.Addresses, d.cfg.URLs(domain.App(rel.AppRef))...)
	}
	if v.State.Runs(rel) {
		out.Addresses = append(out.Addresses, d.cfg.URLs(domain.Release(rel.ReleaseRef, rel.Created))...)
	}
	return out
}
