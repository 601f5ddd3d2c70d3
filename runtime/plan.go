package runtime

import (
	"cmp"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Action is what a Step does.
type Action string

// The actions. Start gives a place its instance. Drain takes an instance out of routing, waits for the
// requests that it has and ends it. Remove clears away what is left of one that has ended. Leave says that
// nothing runs any more by a place that was taken back.
const (
	Start  Action = "start"
	Drain  Action = "drain"
	Remove Action = "remove"
	Leave  Action = "leave"
)

// Step is one thing to do on the way from what runs to what is to run.
type Step struct {
	Do         Action
	Slot       cloud.Slot
	Generation int              // of the instance to start
	Of         time.Time        // when the release of the instance to start was made
	Token      cloud.Revision   // of the place to start an instance for, or to leave
	ID         cloud.InstanceID // of the instance to drain or remove
	// Linger says that others serve on while this instance drains, so that it must wait until nobody
	// holds its address any more.
	Linger bool
}

// Plan returns what a node has to do for its instances of an app to become those that have places on it, in
// an order that does not matter, and when to look again although nothing changes (zero: never). Which
// instances are to run, and where, has been decided: Plan compares that with what runs here.
//
// Instances that are being started or ended are left to their workers, so a second plan of the same view
// with the first one's steps under way is empty.
func Plan(v cloud.View, node cloud.NodeName, app cloud.AppRef, now time.Time) (steps []Step, again time.Time) {
	p := &planner{View: v, node: node, now: now}
	for a := range v.State.Assignments(app) {
		p.assignments = append(p.assignments, a)
	}
	for i := range v.Instances.OfApp(app) {
		if i.Node == node {
			p.here = append(p.here, i)
		}
	}
	for _, a := range p.assignments {
		for _, place := range a.Places {
			if place.Node == node {
				p.place(a, place)
			}
		}
	}
	for _, i := range p.here {
		if !p.stays(i) {
			p.end(i)
		}
	}
	slices.SortFunc(p.steps, Step.compare)
	return p.steps, p.again
}

// sameRelease says whether i is an instance of this very release, and not of one of the same name before it.
func sameRelease(i *cloud.Instance, rel *cloud.Release) bool {
	return i.Of.IsZero() || i.Of.Equal(rel.Created)
}

type planner struct {
	cloud.View
	node        cloud.NodeName
	now         time.Time
	assignments []*cloud.Assignment
	here        []*cloud.Instance // of the app, on this node
	steps       []Step
	again       time.Time
}

// place sees to it that a place of this node has one instance, or none where it is taken back.
func (p *planner) place(a *cloud.Assignment, place cloud.Place) {
	slot := a.Slot(place)
	if place.Leaving {
		token, said := p.Instances.Left(slot, p.node)
		if !p.occupied(slot, place.Token) && (!said || token < place.Token) {
			p.steps = append(p.steps, Step{Do: Leave, Slot: slot, Token: place.Token})
		}
		return
	}
	rel, ok := p.State.Release(a.ReleaseRef)
	if !ok || !rel.Created.Equal(a.Of) || p.fenced() && runsOnce(place) {
		return // what runs by it is to end, and nothing is to start
	}
	if p.keeper(a, place) != nil {
		return
	}
	switch {
	case place.Process == cloud.ReleaseCommand:
		if slices.ContainsFunc(p.here, func(i *cloud.Instance) bool { return a.Holds(place, i) }) {
			return // it runs once
		}
	case place.Generation < rel.Generation:
		return // only what serves yet is kept of it
	}
	if !place.Alone || p.alone(slot) {
		p.start(rel, slot, place)
	}
}

// keeper returns the instance that a place keeps: a live one that runs by it, a ready one first.
func (p *planner) keeper(a *cloud.Assignment, place cloud.Place) (keep *cloud.Instance) {
	for _, i := range p.here {
		if a.Holds(place, i) && i.Phase.Live() && (keep == nil || !ready(keep) && ready(i)) {
			keep = i
		}
	}
	return keep
}

func ready(i *cloud.Instance) bool { return i.Phase == cloud.InstanceReady }

// occupied says whether something of a slot runs here by a place with this token or an older one, be it on
// its way to its end.
func (p *planner) occupied(slot cloud.Slot, token cloud.Revision) bool {
	return slices.ContainsFunc(p.here, func(i *cloud.Instance) bool {
		return i.Slot == slot && i.Token <= token && i.Phase != cloud.InstanceExited
	})
}

// alone says whether all has ended here that must not run beside a new instance of the slot: what was in the
// slot before, and what has no place any more.
func (p *planner) alone(slot cloud.Slot) bool {
	return !slices.ContainsFunc(p.here, func(i *cloud.Instance) bool {
		return i.Phase != cloud.InstanceExited && (i.Slot == slot || i.ReleaseRef != slot.ReleaseRef && !p.stays(i))
	})
}

// fenced says whether this node has lost its lease, so that another may run what must not run twice.
func (p *planner) fenced() bool {
	status, ok := p.Instances.NodeStatus(p.node)
	return ok && !status.Alive
}

// runsOnce says whether two instances must not run by two places of the slot at a time, whichever nodes they
// are on.
func runsOnce(p cloud.Place) bool { return p.Alone || p.Process == cloud.ReleaseCommand }

// stays says whether an instance of this node is to go on, or to be left as it is: nobody has decided about
// its release yet.
func (p *planner) stays(i *cloud.Instance) bool {
	rel, ok := p.State.Release(i.ReleaseRef)
	if !ok || i.N == 0 || !sameRelease(i, rel) {
		return false
	}
	k := slices.IndexFunc(p.assignments, func(a *cloud.Assignment) bool { return a.N == i.N })
	if k < 0 {
		return p.State.Runs(rel) && i.Phase != cloud.InstanceExited
	}
	a := p.assignments[k]
	for _, place := range a.Places {
		switch {
		case !a.Holds(place, i) || !rel.Created.Equal(a.Of):
		case i.Process == cloud.ReleaseCommand:
			return true // also when it has ended: how, the leader has yet to read
		default:
			return p.keeper(a, place) == i && !(place.Alone && p.fenced())
		}
	}
	return false
}

// start plans a new instance for a place unless the last one crashed and the next must wait.
func (p *planner) start(rel *cloud.Release, slot cloud.Slot, place cloud.Place) {
	if c, ok := p.Instances.Crashes(slot); ok && c.Generation == place.Generation && waits(c, p.now) {
		if p.again.IsZero() || c.NextTry.Before(p.again) {
			p.again = c.NextTry
		}
		return
	}
	p.steps = append(p.steps, Step{Do: Start, Slot: slot, Generation: place.Generation, Of: rel.Created, Token: place.Token})
}

// end plans the end of an instance, unless its worker is at it.
func (p *planner) end(i *cloud.Instance) {
	switch i.Phase {
	case cloud.InstanceStarting, cloud.InstanceReady, cloud.InstanceUnready:
		p.steps = append(p.steps, Step{Do: Drain, Slot: i.Slot, ID: i.ID, Linger: p.othersServe(i)})
	case cloud.InstanceExited:
		p.steps = append(p.steps, Step{Do: Remove, Slot: i.Slot, ID: i.ID})
	case cloud.InstanceDraining, cloud.InstanceStopping:
	}
}

// othersServe says whether another instance of the same app and process stays, on any node, so that those
// who ask for its name find one.
func (p *planner) othersServe(i *cloud.Instance) bool {
	if i.Phase != cloud.InstanceReady || i.Addr.Port() == 0 {
		return false
	}
	for o := range p.Instances.OfApp(i.AppRef) {
		if o.ID != i.ID && o.Process == i.Process && ready(o) && p.hasPlace(o) {
			return true
		}
	}
	return false
}

// hasPlace says whether an instance of any node has a place.
func (p *planner) hasPlace(i *cloud.Instance) bool {
	for _, a := range p.assignments {
		if a.N == i.N {
			return slices.ContainsFunc(a.Places, func(place cloud.Place) bool { return a.Holds(place, i) })
		}
	}
	rel, ok := p.State.Release(i.ReleaseRef)
	return ok && p.State.Runs(rel)
}

func (a Step) compare(b Step) int {
	return cmp.Or(cmp.Compare(a.Do, b.Do), cmp.Compare(a.Slot.String(), b.Slot.String()), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Token, b.Token))
}
