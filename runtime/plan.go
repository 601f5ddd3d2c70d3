package runtime

import (
	"cmp"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Action is what a Step does.
type Action string

// The actions. Start fills a slot with a new instance. Drain takes an instance out of routing, waits
// for what it has in flight and ends it. Remove clears away what is left of one that has ended.
const (
	Start  Action = "start"
	Drain  Action = "drain"
	Remove Action = "remove"
)

// Step is one thing to do on the way from what is to what is desired.
type Step struct {
	Do         Action
	Slot       cloud.Slot
	Generation int              // of the instance to start
	Of         time.Time        // when the release of the instance to start was made
	ID         cloud.InstanceID // of the instance to drain or remove
	// Linger says that others serve on while this instance drains, so that it must wait until nobody
	// holds its address any more.
	Linger bool
}

// Plan returns what a node has to do for the instances on it to become those that the state asks for,
// in an order that does not matter, and when to look again although nothing changes (zero: never).
// Instances that are being started or ended are left to whoever is at it, so a second plan of the same
// view with the first one's steps under way is empty.
func Plan(v cloud.View, node cloud.NodeName, now time.Time) (steps []Step, again time.Time) {
	p := planner{View: v, node: node, now: now}
	for app := range v.State.Apps("") {
		p.app(app)
	}
	for i := range v.Instances.All() {
		if rel, ok := v.State.Release(i.ReleaseRef); !ok || i.N == 0 || !of(i, rel) {
			p.end(i, false)
		}
	}
	slices.SortFunc(p.steps, Step.compare)
	return p.steps, p.again
}

// of says whether i is an instance of this very release, and not of one of the same name before it.
func of(i *cloud.Instance, rel *cloud.Release) bool { return i.Of.IsZero() || i.Of.Equal(rel.Created) }

type planner struct {
	cloud.View
	node  cloud.NodeName
	now   time.Time
	steps []Step
	again time.Time
}

func (p *planner) app(app *cloud.App) {
	exclusive := p.exclusive(app)
	for rel := range p.State.Releases(app.AppRef) {
		runs := p.State.Runs(rel)
		switch {
		case exclusive && rel.N == app.Current:
			p.endAll(rel.ReleaseRef, false)
		case !runs:
			p.endAll(rel.ReleaseRef, true)
		case p.waits(app, rel, exclusive):
			// Others are being ended; this one may start when they have.
		default:
			p.release(app, rel)
		}
	}
}

// exclusive says whether the current release must have ended before the one that is being switched to
// starts. A release command runs before that, unless it would write to the same volumes.
func (p *planner) exclusive(app *cloud.App) bool {
	r := app.Rollout
	if r == nil || r.Strategy.Kind != cloud.Recreate || r.To == app.Current {
		return false
	}
	to, ok := p.State.Release(app.Release(r.To))
	return ok && (r.Released || len(to.Spec.Volumes) > 0)
}

// waits says whether instances that must not run beside those of the release are still there: of
// releases that are being ended, where one of the two wants to be alone.
func (p *planner) waits(app *cloud.App, rel *cloud.Release, exclusive bool) bool {
	if rel.N != app.Current && (app.Rollout == nil || app.Rollout.To != rel.N) {
		return false
	}
	for i := range p.Instances.OfApp(app.AppRef) {
		if i.Phase == cloud.InstanceExited || i.N == rel.N && of(i, rel) {
			continue
		}
		other, ok := p.State.Release(i.ReleaseRef)
		ok = ok && of(i, other)
		ends := !ok || !p.State.Runs(other) || exclusive && i.N == app.Current
		if ends && (rel.Spec.Strategy.Kind == cloud.Recreate || ok && other.Spec.Strategy.Kind == cloud.Recreate) {
			return true
		}
	}
	return false
}

func (p *planner) release(app *cloud.App, rel *cloud.Release) {
	rollout := app.Rollout
	if rollout != nil && rollout.To != rel.N {
		rollout = nil
	}
	_, hasCommand := rel.Spec.Processes[cloud.ReleaseCommand]
	before := hasCommand && rollout != nil && !rollout.Released
	wanted := cloud.Formation{}
	for name, scale := range p.State.Wanted(rel) {
		switch {
		case name == cloud.ReleaseCommand:
			if before {
				wanted[name] = cloud.Scale{Instances: 1}
			}
		case !before || rel.Up || rel.Staged:
			wanted[name] = scale
		}
	}
	surplus := map[cloud.ProcessName][]*cloud.Instance{}
	bySlot := map[cloud.Slot][]*cloud.Instance{}
	for i := range p.Instances.OfRelease(rel.ReleaseRef) {
		if !of(i, rel) {
			continue
		}
		if i.Index < wanted[i.Process].Instances {
			bySlot[i.Slot] = append(bySlot[i.Slot], i)
		} else {
			surplus[i.Process] = append(surplus[i.Process], i)
		}
	}
	for name, scale := range wanted {
		if name == cloud.ReleaseCommand {
			p.once(rel, bySlot)
			continue
		}
		p.process(rel, name, scale.Instances, bySlot)
	}
	for name, list := range surplus {
		p.shrink(list, wanted[name].Instances, bySlot)
	}
}

// shrink ends the instances of a process beyond its count, but those that serve only as far as others do.
func (p *planner) shrink(surplus []*cloud.Instance, count int, bySlot map[cloud.Slot][]*cloud.Instance) {
	short := count
	for slot, list := range bySlot {
		if slot.Process == surplus[0].Process && slices.ContainsFunc(list, ready) {
			short--
		}
	}
	for _, i := range surplus {
		if ready(i) && short > 0 {
			short--
			continue
		}
		p.end(i, true)
	}
}

func ready(i *cloud.Instance) bool { return i.Phase == cloud.InstanceReady }

// once starts the release command where it has not run.
func (p *planner) once(rel *cloud.Release, bySlot map[cloud.Slot][]*cloud.Instance) {
	slot := cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: cloud.ReleaseCommand}
	if len(bySlot[slot]) == 0 {
		p.start(rel, slot)
	}
}

// process fills the slots of one process, and replaces the instances of an older generation: a new one
// first and the old one after it, or the other way round where two must not run at once, or no more than
// the formation may.
func (p *planner) process(rel *cloud.Release, name cloud.ProcessName, count int, bySlot map[cloud.Slot][]*cloud.Instance) {
	alone := rel.Spec.Strategy.Kind == cloud.Recreate
	pace := paceOf(rel, name, count, bySlot)
	for index := range count {
		slot := slotOf(rel, name, index)
		keep, old, gone := sortOut(bySlot[slot], rel.Generation)
		for _, i := range gone {
			p.end(i, true)
		}
		switch {
		case keep != nil && (ready(keep) || len(old) == 0):
			// What comes after is up; what was before may go.
			for _, i := range old {
				p.end(i, true)
			}
		case keep != nil:
		case alone && len(old) > 0:
			for _, i := range old {
				p.end(i, false)
			}
		case len(old) == 0:
			if pace.mayFill() && !(alone && occupied(bySlot[slot])) && p.start(rel, slot) {
				pace.started()
			}
		case pace.downFirst:
			if pace.mayTakeDown(old) {
				for _, i := range old {
					p.end(i, true)
				}
				pace.takenDown(old)
			}
		case pace.mayReplace() && p.start(rel, slot):
			pace.started()
		}
	}
}

func slotOf(rel *cloud.Release, name cloud.ProcessName, index int) cloud.Slot {
	return cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: name, Index: index}
}

// sortOut finds the instance of a slot to keep, the live ones of older generations, and those that are
// there for nothing: doubles, and what has ended.
func sortOut(list []*cloud.Instance, generation int) (keep *cloud.Instance, old, gone []*cloud.Instance) {
	for _, i := range list {
		switch {
		case i.Phase == cloud.InstanceExited:
			gone = append(gone, i)
		case !i.Phase.Live():
		case i.Generation < generation && i.Phase == cloud.InstanceStarting:
			gone = append(gone, i) // nobody needs it, and it may hang
		case i.Generation < generation:
			old = append(old, i)
		case keep == nil:
			keep = i
		case !ready(keep) && ready(i):
			gone = append(gone, keep)
			keep = i
		default:
			gone = append(gone, i)
		}
	}
	return keep, old, gone
}

// occupied says whether something of a slot still runs, be it on its way to its end.
func occupied(list []*cloud.Instance) bool {
	return slices.ContainsFunc(list, func(i *cloud.Instance) bool { return i.Phase != cloud.InstanceExited })
}

// start plans a new instance of the slot unless it has crashed and must wait.
func (p *planner) start(rel *cloud.Release, slot cloud.Slot) bool {
	if c, ok := p.Instances.Crashes(slot); ok && c.Generation == rel.Generation && waits(c, p.now) {
		if p.again.IsZero() || c.NextTry.Before(p.again) {
			p.again = c.NextTry
		}
		return false
	}
	p.steps = append(p.steps, Step{Do: Start, Slot: slot, Generation: rel.Generation, Of: rel.Created})
	return true
}

func (p *planner) endAll(r cloud.ReleaseRef, linger bool) {
	for i := range p.Instances.OfRelease(r) {
		p.end(i, linger)
	}
}

// end plans the end of an instance of this node, unless somebody is at it.
func (p *planner) end(i *cloud.Instance, linger bool) {
	if i.Node != p.node {
		return
	}
	switch i.Phase {
	case cloud.InstanceStarting, cloud.InstanceReady, cloud.InstanceUnready:
		p.steps = append(p.steps, Step{Do: Drain, Slot: i.Slot, ID: i.ID, Linger: linger && p.othersServe(i)})
	case cloud.InstanceExited:
		p.steps = append(p.steps, Step{Do: Remove, Slot: i.Slot, ID: i.ID})
	case cloud.InstanceDraining, cloud.InstanceStopping:
	}
}

// othersServe says whether another ready instance of the same app and process would be found by name.
func (p *planner) othersServe(i *cloud.Instance) bool {
	if i.Phase != cloud.InstanceReady || i.Addr.Port() == 0 {
		return false
	}
	for o := range p.Instances.OfApp(i.AppRef) {
		if o.ID == i.ID || o.Process != i.Process || !ready(o) {
			continue
		}
		if rel, ok := p.State.Release(o.ReleaseRef); ok && p.State.Runs(rel) {
			return true
		}
	}
	return false
}

func (a Step) compare(b Step) int {
	return cmp.Or(cmp.Compare(a.Do, b.Do), cmp.Compare(a.Slot.String(), b.Slot.String()), cmp.Compare(a.ID, b.ID))
}
