package runtime

import (
	"cmp"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Action is what a Step does.
type Action string

// The actions. Start starts an instance for a place. Drain takes an instance out of routing, waits for its requests
// and ends it. Remove removes an ended instance. Leave reports that a place that was taken back has no instance any
// more.
const (
	Start  Action = "start"
	Drain  Action = "drain"
	Remove Action = "remove"
	Leave  Action = "leave"
)

// Step is one change of this node's instances.
type Step struct {
	Do         Action
	Slot       cloud.Slot
	Generation int              // of the instance to start
	Of         time.Time        // creation time of the release of the instance to start
	Token      cloud.Revision   // of the place to start an instance for, or to leave
	ID         cloud.InstanceID // of the instance to drain or remove
	// Linger: wait until clients no longer use the instance's address from DNS. It is set if other instances
	// serve meanwhile.
	Linger bool
}

// Plan compares the places that an app has on a node with the instances that run there. It returns the steps that
// are needed, which can be done in any order, and when to plan again even if nothing changes (zero: never).
//
// Plan leaves instances that are starting or ending to their workers, so that a second plan is empty while the steps
// of the first one are being carried out.
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

// sameRelease reports whether i is an instance of this release, and not of a deleted one with the same name.
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

// place plans the start of an instance for a place of this node that has none, or reports that a place which was
// taken back is empty.
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
	if !ok || !rel.Created.Equal(a.Of) || runsOnce(place) && !p.holdsLease() {
		return // its instance must end, or no new one may start
	}
	if p.keeper(a, place) != nil {
		return
	}
	switch {
	case place.Process == cloud.ReleaseCommand:
		if slices.ContainsFunc(p.here, func(i *cloud.Instance) bool { return a.Holds(place, i) }) {
			return // a release command runs only once
		}
	case place.Generation < rel.Generation:
		return // an old generation only keeps its running instances
	}
	if !place.Alone || p.alone(slot) {
		p.start(rel, slot, place)
	}
}

// keeper returns the instance that a place keeps: a live one, preferably a ready one.
func (p *planner) keeper(a *cloud.Assignment, place cloud.Place) (keep *cloud.Instance) {
	for _, i := range p.here {
		if a.Holds(place, i) && i.Phase.Live() && (keep == nil || !ready(keep) && ready(i)) {
			keep = i
		}
	}
	return keep
}

func ready(i *cloud.Instance) bool { return i.Phase == cloud.InstanceReady }

// occupied reports whether the slot has an instance here of a place with this token or an older one, also a stopping
// one.
func (p *planner) occupied(slot cloud.Slot, token cloud.Revision) bool {
	return slices.ContainsFunc(p.here, func(i *cloud.Instance) bool {
		return i.Slot == slot && i.Token <= token && i.Phase != cloud.InstanceExited
	})
}

// alone reports whether all instances have ended that must not run beside a new instance of the slot: earlier ones
// of the slot, and instances without a place.
func (p *planner) alone(slot cloud.Slot) bool {
	return !slices.ContainsFunc(p.here, func(i *cloud.Instance) bool {
		return i.Phase != cloud.InstanceExited && (i.Slot == slot || i.ReleaseRef != slot.ReleaseRef && !p.stays(i))
	})
}

// fenced reports whether this node has lost its lease, so that another node may run instances that must not run
// twice.
func (p *planner) fenced() bool {
	status, ok := p.Instances.NodeStatus(p.node)
	return ok && !status.Alive
}

// holdsLease reports whether this node surely has its lease. A node that has just started has none yet: it keeps what runs,
// which its shim ends in time, but it starts nothing that another node may have been given meanwhile.
func (p *planner) holdsLease() bool {
	status, ok := p.Instances.NodeStatus(p.node)
	return ok && status.Alive
}

// runsOnce reports whether instances of two places of the slot must not run at the same time, even on different
// nodes.
func runsOnce(p cloud.Place) bool { return p.Alone || p.Process == cloud.ReleaseCommand }

// stays reports whether an instance of this node should keep running, or be left as it is because the leader has not
// decided about its release yet.
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
			return true // also if it has ended: the leader must still read its exit code
		default:
			return p.keeper(a, place) == i && !(place.Alone && p.fenced())
		}
	}
	return false
}

// start plans a new instance for a place, unless the last one crashed and the next must wait.
func (p *planner) start(rel *cloud.Release, slot cloud.Slot, place cloud.Place) {
	if c, ok := p.Instances.Crashes(slot); ok && c.Generation == place.Generation && mustWait(c, p.now) {
		if p.again.IsZero() || c.NextTry.Before(p.again) {
			p.again = c.NextTry
		}
		return
	}
	p.steps = append(p.steps, Step{Do: Start, Slot: slot, Generation: place.Generation, Of: rel.Created, Token: place.Token})
}

// end plans the end of an instance, unless its worker is already ending it.
func (p *planner) end(i *cloud.Instance) {
	switch i.Phase {
	case cloud.InstanceStarting, cloud.InstanceReady, cloud.InstanceUnready:
		p.steps = append(p.steps, Step{Do: Drain, Slot: i.Slot, ID: i.ID, Linger: p.othersServe(i)})
	case cloud.InstanceExited:
		p.steps = append(p.steps, Step{Do: Remove, Slot: i.Slot, ID: i.ID})
	case cloud.InstanceDraining, cloud.InstanceStopping:
	}
}

// othersServe reports whether another ready instance of the same app and process stays, on any node, so that DNS
// answers for its name.
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

// hasPlace reports whether an instance of any node has a place.
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
