package leader

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Places gives instances their places as far as that follows from what was observed: an instance is ready,
// so the one that it replaces may go; a node is gone, so its instances run elsewhere. What follows from a
// change of the state is written together with it: WithPlaces.
type Places struct {
	Views  Views
	Writer Writer
	Log    *slog.Logger
	Now    func() time.Time
}

// Name implements Duty.
func (*Places) Name() string { return "places" }

// appsAtOnce is how many apps get their places in one transaction.
const appsAtOnce = 100

// Run implements Duty.
func (p *Places) Run(ctx context.Context) error {
	var work cloud.Worklist
	var old cloud.View
	view := p.Views.View()
	for {
		now := p.Now()
		for apps := range slices.Chunk(withNodes(work.Next(view, now), old, view), appsAtOnce) {
			if err := p.write(ctx, view, apps); err != nil {
				p.Log.Error("cannot write where instances are to run", "err", err)
				for _, app := range apps {
					work.Due(app, now.Add(retryAfter))
				}
			}
		}
		old = view
		var err error
		if view, err = cloud.ChangedWithin(ctx, p.Views, view, cloud.Until(work.Earliest(), p.Now())); err != nil {
			return nil
		}
	}
}

// write writes the places of some apps, if they are not right.
func (p *Places) write(ctx context.Context, v cloud.View, apps []cloud.AppRef) error {
	changes := Assign(v, apps...)
	if len(changes) == 0 {
		return nil
	}
	object := apps[0].String()
	if len(apps) > 1 {
		object = fmt.Sprintf("%d apps", len(apps))
	}
	return p.Writer.Write(ctx, "assign", object, func(s *cloud.State) ([]cloud.Change, error) {
		return Assign(cloud.View{State: s, Instances: p.Views.View().Instances}, apps...), nil
	})
}

// withNodes adds to apps those whose places may differ because nodes do: the apps of a node that came, went
// or changed, and, as room may have become free, those that lack a place.
func withNodes(apps []cloud.AppRef, old, now cloud.View) []cloud.AppRef {
	if old.State == nil {
		return apps // that is all there are
	}
	all := map[cloud.AppRef]bool{}
	for _, app := range apps {
		all[app] = true
	}
	nodes, _ := now.TouchedNodes(old)
	for n := range nodes {
		for _, s := range []*cloud.State{old.State, now.State} {
			for a := range s.AssignmentsOn(n) {
				all[a.AppRef] = true
			}
		}
	}
	if len(apps) > 0 || len(nodes) > 0 {
		for a := range now.State.WaitingAssignments() {
			all[a.AppRef] = true
		}
	}
	return sorted(all)
}

func sorted(apps map[cloud.AppRef]bool) []cloud.AppRef {
	return slices.SortedFunc(maps.Keys(apps), func(a, b cloud.AppRef) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.App, b.App))
	})
}

// WithPlaces returns change with the places that follow from it, so that one transaction has both: no node
// waits for a second one before it starts an instance.
func WithPlaces(view func() cloud.View, change func(*cloud.State) ([]cloud.Change, error)) func(*cloud.State) ([]cloud.Change, error) {
	return func(s *cloud.State) ([]cloud.Change, error) {
		changes, err := change(s)
		if err != nil || len(changes) == 0 {
			return changes, err
		}
		before := cloud.View{State: s, Instances: view().Instances}
		after := cloud.View{State: s.Apply(s.Rev()+1, changes), Instances: before.Instances}
		apps, ok := after.TouchedApps(before)
		if !ok {
			return changes, nil // Places looks at all of them
		}
		return append(slices.Clip(changes), Assign(after, sorted(apps)...)...), nil
	}
}
