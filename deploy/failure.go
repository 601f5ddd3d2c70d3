package deploy

import (
	"fmt"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// errFailed says why a release never came up.
func errFailed(rel *cloud.Release) error {
	f := rel.Failure
	e := cloud.Errorf(cloud.DeployFailed, "release %s failed: %s", rel.ReleaseRef, f.Reason).WithCommand("micro logs %s", rel.ReleaseRef)
	if f.Hint != "" {
		e = e.WithHint("%s", f.Hint)
	}
	if len(f.Lines) == 0 {
		return e
	}
	return &api.Failed{Err: e, Lines: f.Lines}
}

// errOvertaken says which release took the place of one that never came up.
func errOvertaken(app *cloud.App, rel *cloud.Release) error {
	by := app.Last
	switch {
	case app.Rollout != nil:
		by = app.Rollout.To
	case app.Current > rel.N:
		by = app.Current
	case by == rel.N: // somebody rolled back meanwhile
		return cloud.Errorf(cloud.Conflict, "release %s was abandoned: app %s was rolled back to r%d", rel.ReleaseRef, app.AppRef, app.Current).
			WithCommand("micro releases %s", app.AppRef)
	}
	return cloud.Errorf(cloud.Conflict, "release %s was superseded by r%d", rel.ReleaseRef, by).WithCommand("micro releases %s", app.AppRef)
}

// errGivenUp says why a release that was up before did not become current again.
func errGivenUp(v cloud.View, rel *cloud.Release) error {
	why := "the switch to it was given up"
	for c := range v.Instances.AllCrashes() {
		if c.ReleaseRef == rel.ReleaseRef && c.Reason != "" {
			why = fmt.Sprintf("%s.%d %s", c.Process, c.Index, c.Reason)
		}
	}
	return cloud.Errorf(cloud.DeployFailed, "release %s did not become current: %s", rel.ReleaseRef, why).WithCommand("micro logs %s", rel.ReleaseRef)
}

// checkCrashes reports an instance that has kept crashing since began.
func checkCrashes(v cloud.View, rel *cloud.Release, began time.Time) error {
	for name, scale := range v.State.Wanted(rel) {
		for index := range scale.Instances {
			slot := cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: name, Index: index}
			c, ok := v.Instances.Crashes(slot)
			if !ok || c.Generation < rel.Generation || c.Count < cloud.Flapping && !c.Fatal || c.Last.At.Before(began) {
				continue
			}
			why := c.Reason
			if why == "" {
				why = fmt.Sprintf("exited with code %d", c.Last.Code)
			}
			return cloud.Errorf(cloud.DeployFailed, "%s.%d of release %s keeps crashing: %s", name, index, rel.ReleaseRef, why).
				WithCommand("micro logs %s --process %s", rel.ReleaseRef, name)
		}
	}
	return nil
}
