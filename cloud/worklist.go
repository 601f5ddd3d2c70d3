package cloud

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Worklist says which apps a loop over views has to look at: those that may differ from the view before, and
// those whose time has come. So a change costs what it touches, however many apps there are.
type Worklist struct {
	seen View
	due  map[AppRef]time.Time
}

// Next returns the apps to look at in v at the time now, sorted: all of them the first time, and where it is
// not known any more what changed. What they were due for is forgotten; Due sets it anew.
func (w *Worklist) Next(v View, now time.Time) []AppRef {
	apps, ok := v.TouchedApps(w.seen)
	if !ok {
		apps = v.apps()
	}
	w.seen = v
	for app, at := range w.due {
		if apps[app] || !now.Before(at) {
			apps[app] = true
			delete(w.due, app)
		}
	}
	return slices.SortedFunc(maps.Keys(apps), func(a, b AppRef) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.App, b.App))
	})
}

// Due has an app looked at again at a time, if nothing touches it before; zero is never.
func (w *Worklist) Due(app AppRef, at time.Time) {
	if at.IsZero() {
		return
	}
	if w.due == nil {
		w.due = map[AppRef]time.Time{}
	}
	if before, ok := w.due[app]; !ok || at.Before(before) {
		w.due[app] = at
	}
}

// Earliest is when the first app is due; zero for never.
func (w *Worklist) Earliest() (earliest time.Time) {
	for _, at := range w.due {
		if earliest.IsZero() || at.Before(earliest) {
			earliest = at
		}
	}
	return earliest
}

// apps returns every app that a view knows of, also those of which only instances are left.
func (v View) apps() map[AppRef]bool {
	apps := map[AppRef]bool{}
	for a := range v.State.Apps("") {
		apps[a.AppRef] = true
	}
	for a := range v.State.AllAssignments() {
		apps[a.AppRef] = true
	}
	for h := range v.State.Homes() {
		apps[h.AppRef] = true
	}
	for i := range v.Instances.All() {
		apps[i.AppRef] = true
	}
	return apps
}
