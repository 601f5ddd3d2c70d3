package leader

import (
	"cmp"
	"maps"
	"slices"

	"github.com/protoduction/micro/cloud"
)

// Assign returns the changes of the state that give the instances of the apps their places: which are to
// run, and on which node. It looks at nothing but the view, so any node may call it, and the same view
// gives the same changes; an app whose places are right gets none.
//
// It decides all that needs to know more than one node does: how many instances may start and be replaced
// at a time (pace), that a replacement is ready before the old one goes, that what must not run twice has
// ended before it starts elsewhere, which nodes have room, and how a release is spread.
func Assign(v cloud.View, apps ...cloud.AppRef) []cloud.Change {
	c := newCluster(v)
	if c.empty() {
		return nil
	}
	var changes []cloud.Change
	for _, ref := range apps {
		a := newAssigner(c, ref)
		a.decide()
		changes = append(changes, a.changes()...)
	}
	return changes
}

// assigner gives the instances of one app their places.
type assigner struct {
	*cluster
	ref       cloud.AppRef
	app       *cloud.App // nil where it was deleted
	drafts    []*draft   // one a release or assignment, by number
	instances []*cloud.Instance
	home      *cloud.Home       // as it is, or as it is to be; nil where no release ever had a volume
	work      *cloud.VolumeWork // that keeps releases with volumes from running; nil where none does
	// hold says that whatever of the app ends must have ended before the next thing starts, on any node.
	hold bool
}

// draft is a release's assignment in the making.
type draft struct {
	*assigner
	n      int
	rel    *cloud.Release    // nil where it was deleted
	was    *cloud.Assignment // nil where nobody has decided yet
	wanted cloud.Formation   // nil where nothing is to run
	places []cloud.Place
	bySlot map[cloud.Slot][]*cloud.Instance
	reason string
}

func newAssigner(c *cluster, ref cloud.AppRef) *assigner {
	a := &assigner{cluster: c, ref: ref}
	a.app, _ = c.State.App(ref)
	a.home, _ = c.State.Home(ref)
	if w, ok := c.State.HaltingWork(ref); ok {
		a.work = w
	}
	a.hold = a.work != nil || a.recreates()
	for i := range c.Instances.OfApp(ref) {
		if i.Phase != cloud.InstanceExited && !c.dead(i.Node) || i.Process == cloud.ReleaseCommand {
			a.instances = append(a.instances, i)
		}
	}
	byN := map[int]*draft{}
	at := func(n int) *draft {
		if byN[n] == nil {
			byN[n] = &draft{assigner: a, n: n, bySlot: map[cloud.Slot][]*cloud.Instance{}}
		}
		return byN[n]
	}
	for rel := range c.State.Releases(ref) {
		if _, ok := c.State.Assignment(rel.ReleaseRef); ok || c.State.Runs(rel) {
			at(rel.N).rel = rel
		}
	}
	for was := range c.State.Assignments(ref) {
		d := at(was.N)
		d.was, d.places = was, slices.Clone(was.Places)
	}
	a.drafts = slices.SortedFunc(maps.Values(byN), func(x, y *draft) int { return cmp.Compare(x.n, y.n) })
	for _, i := range a.instances {
		if d := byN[i.N]; d != nil && d.rel != nil && sameRelease(i, d.rel) {
			d.bySlot[i.Slot] = append(d.bySlot[i.Slot], i)
		}
	}
	return a
}

// recreates says whether the release that is current, or that is being switched to, must not run beside another.
func (a *assigner) recreates() bool {
	if a.app == nil {
		return false
	}
	numbers := []int{a.app.Current}
	if a.app.Rollout != nil {
		numbers = append(numbers, a.app.Rollout.To)
	}
	return slices.ContainsFunc(numbers, func(n int) bool {
		rel, ok := a.State.Release(a.app.Release(n))
		return n != 0 && ok && rel.Spec.Strategy.Kind == cloud.Recreate
	})
}

// sameRelease says whether i is an instance of this very release, and not of one of the same name before it.
func sameRelease(i *cloud.Instance, rel *cloud.Release) bool {
	return i.Of.IsZero() || i.Of.Equal(rel.Created)
}

// decide makes the drafts what they are to be: first what loses its place, for that says what may start.
func (a *assigner) decide() {
	for _, d := range a.drafts {
		d.freeLeft()
		d.wanted = d.want()
		switch {
		case d.wanted == nil || d.was != nil && !d.was.Of.Equal(d.rel.Created):
			d.takeBack(func(cloud.Place) bool { return true })
		case d.was == nil:
			d.adopt()
		}
	}
	for _, d := range a.drafts {
		if d.wanted != nil {
			d.assign()
		}
	}
}

// want returns how much of each process is to have places; nil for nothing.
func (d *draft) want() cloud.Formation {
	if d.app == nil || d.rel == nil || !d.State.Runs(d.rel) {
		return nil
	}
	if d.work != nil && len(d.rel.Spec.Volumes) > 0 {
		d.wait(d.work.Reason())
		return nil
	}
	if d.exclusive() && (d.n == d.app.Current || d.State.PhaseOf(d.rel) == cloud.PhaseWarm) {
		return nil
	}
	before := d.State.AwaitsCommand(d.rel)
	wanted := cloud.Formation{}
	for name, scale := range d.State.Wanted(d.rel) {
		switch {
		case name == cloud.ReleaseCommand:
			if before {
				scale.Instances = 1
				wanted[name] = scale
			}
		case !before || d.rel.Up || d.rel.Staged && !d.rel.Prepare:
			wanted[name] = scale
		}
	}
	return wanted
}

// exclusive says whether the current release and the warm ones must have ended before the one that is being switched to
// starts. A release command runs before that, unless it would write to the same volumes.
func (a *assigner) exclusive() bool {
	r := a.app.Rollout
	if r == nil || r.Strategy.Kind != cloud.Recreate || r.To == a.app.Current {
		return false
	}
	to, ok := a.State.Release(a.app.Release(r.To))
	return ok && a.State.Unmet(to) == "" && (r.Released || len(to.Spec.Volumes) > 0)
}

// adopt gives a place to each instance of a release that nobody has decided about: those of an older micro.
func (d *draft) adopt() {
	for _, i := range d.instances {
		if i.N != d.n || !sameRelease(i, d.rel) || !i.Phase.Live() && i.Process != cloud.ReleaseCommand || d.placeOf(i) >= 0 {
			continue
		}
		scale := d.rel.Formation[i.Process]
		p := cloud.Place{
			Process: i.Process, Index: i.Index, Node: i.Node, Generation: i.Generation, Token: i.Token,
			Memory: scale.Memory, CPU: scale.CPU, Alone: d.alone(),
		}
		if d.dead(p.Node) {
			continue
		}
		d.places = append(d.places, p)
		d.gave(p, 1)
		if len(d.rel.Spec.Volumes) > 0 && d.home == nil {
			d.settleAt(p.Node)
		}
	}
}

// alone says whether no two instances of a slot, and no two releases, may run at once.
func (d *draft) alone() bool { return d.rel.Spec.Strategy.Kind == cloud.Recreate }

// placeOf returns the index of the place that an instance runs by, -1 for none.
func (d *draft) placeOf(i *cloud.Instance) int {
	a := cloud.Assignment{ReleaseRef: d.ref.Release(d.n), Of: d.rel.Created}
	return slices.IndexFunc(d.places, func(p cloud.Place) bool { return a.Holds(p, i) })
}

// freeLeft drops the places that are taken back and that nothing runs by any more.
func (d *draft) freeLeft() {
	d.drop(func(p cloud.Place) bool {
		token, ok := d.Instances.Left(d.slot(p.Process, p.Index), p.Node)
		return p.Leaving && (d.gone(p.Node) || ok && token >= p.Token)
	})
}

// drop removes the chosen places for good.
func (d *draft) drop(chosen func(cloud.Place) bool) {
	d.places = slices.DeleteFunc(d.places, func(p cloud.Place) bool {
		if !chosen(p) {
			return false
		}
		d.gave(p, -1)
		return true
	})
}

// takeBack takes the chosen places from their instances. Those of instances that must not run twice stay
// until their nodes have ended them.
func (d *draft) takeBack(chosen func(cloud.Place) bool) {
	d.drop(func(p cloud.Place) bool {
		return !p.Leaving && chosen(p) && d.mayDrop(p)
	})
	for k, p := range d.places {
		if !p.Leaving && chosen(p) {
			d.places[k].Leaving = true
		}
	}
}

// mayDrop says whether a place may be given up before its node has said that nothing runs by it.
func (d *draft) mayDrop(p cloud.Place) bool { return d.gone(p.Node) || !p.Alone && !d.hold }

// nextToken returns the token of a new place of a slot.
func (d *draft) nextToken(name cloud.ProcessName, index int) cloud.Revision {
	next := d.State.Rev() + 1
	for _, p := range d.places {
		if p.Process == name && p.Index == index {
			next = max(next, p.Token+1)
		}
	}
	if d.was != nil {
		for _, p := range d.was.Places {
			if p.Process == name && p.Index == index {
				next = max(next, p.Token+1)
			}
		}
	}
	return next
}

// assign gives a release that is to run its places.
func (d *draft) assign() {
	ends := d.endings()
	for _, name := range slices.Sorted(maps.Keys(d.wanted)) {
		scale := d.wanted[name]
		p := newProcess(d, name, scale, ends)
		if name == cloud.ReleaseCommand {
			p.once()
			continue
		}
		p.fill()
	}
	for _, name := range d.processes() {
		d.shrink(name, d.wanted[name].Instances)
	}
}

// processes returns the processes that have places.
func (d *draft) processes() (names []cloud.ProcessName) {
	for _, p := range d.places {
		names = append(names, p.Process)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// endings returns the nodes on which something is still ending that must not run beside the release: other
// releases that have lost their places, where one of the two is never to run beside another.
func (d *draft) endings() map[cloud.NodeName]bool {
	if d.n != d.app.Current && (d.app.Rollout == nil || d.app.Rollout.To != d.n) {
		return nil
	}
	nodes := map[cloud.NodeName]bool{}
	for _, other := range d.drafts {
		for _, p := range other.places {
			if p.Leaving && other.n != d.n {
				nodes[p.Node] = true
			}
		}
	}
	for _, i := range d.instances {
		if i.Phase == cloud.InstanceExited || i.N == d.n && sameRelease(i, d.rel) {
			continue
		}
		other, ok := d.State.Release(i.ReleaseRef)
		ok = ok && sameRelease(i, other)
		if d.ends(i) && (d.alone() || ok && other.Spec.Strategy.Kind == cloud.Recreate) {
			nodes[i.Node] = true
		}
	}
	return nodes
}

// ends says whether an instance of another release is to end as a whole release does.
func (a *assigner) ends(i *cloud.Instance) bool {
	k := slices.IndexFunc(a.drafts, func(d *draft) bool { return d.n == i.N })
	return k < 0 || a.drafts[k].wanted == nil || !sameRelease(i, a.drafts[k].rel)
}

// shrink takes back the places of a process beyond its count, but those that serve only as far as others do.
func (d *draft) shrink(name cloud.ProcessName, count int) {
	short := count
	serving := map[int]bool{}
	for _, p := range d.places {
		if p.Process == name && p.Index < count && !serving[p.Index] && d.is(p, ready) {
			serving[p.Index] = true
			short--
		}
	}
	var surplus []cloud.Place
	for _, p := range d.places {
		switch {
		case p.Process != name || p.Index < count || p.Leaving:
		case short > 0 && d.is(p, ready):
			short--
		default:
			surplus = append(surplus, p)
		}
	}
	d.takeBackAll(surplus)
}

func (d *draft) slot(name cloud.ProcessName, index int) cloud.Slot {
	return cloud.Slot{ReleaseRef: d.ref.Release(d.n), Process: name, Index: index}
}

// is says whether an instance of which so is true runs by a place.
func (d *draft) is(p cloud.Place, so func(*cloud.Instance) bool) bool {
	a := cloud.Assignment{ReleaseRef: d.ref.Release(d.n), Of: d.rel.Created}
	return slices.ContainsFunc(d.bySlot[d.slot(p.Process, p.Index)], func(i *cloud.Instance) bool { return a.Holds(p, i) && so(i) })
}

func ready(i *cloud.Instance) bool { return i.Phase == cloud.InstanceReady }

// serves says whether an instance has come up and has not been told to end.
func serves(i *cloud.Instance) bool {
	return i.Phase == cloud.InstanceReady || i.Phase == cloud.InstanceUnready
}

// changes returns what differs from the state.
func (a *assigner) changes() (changes []cloud.Change) {
	left := false
	for _, d := range a.drafts {
		left = left || len(d.places) > 0
		if c, ok := d.change(); ok {
			changes = append(changes, c)
		}
	}
	switch before, ok := a.State.Home(a.ref); {
	case a.app == nil && ok && !left:
		changes = append(changes, cloud.Delete(before))
	case a.home != before:
		changes = append(changes, cloud.Put(a.home))
	}
	return changes
}

func (d *draft) change() (cloud.Change, bool) {
	next := &cloud.Assignment{ReleaseRef: d.ref.Release(d.n), Places: d.places, Reason: d.reason}
	if d.rel != nil {
		next.Of = d.rel.Created
	} else if d.was != nil {
		next.Of = d.was.Of
	}
	if len(d.places) == 0 && (d.rel == nil || !d.State.Runs(d.rel)) {
		return cloud.Delete(next), d.was != nil
	}
	slices.SortFunc(next.Places, func(p, q cloud.Place) int {
		return cmp.Or(cmp.Compare(p.Process, q.Process), cmp.Compare(p.Index, q.Index), cmp.Compare(p.Token, q.Token))
	})
	same := d.was != nil && d.was.Of.Equal(next.Of) && d.was.Reason == next.Reason && slices.Equal(d.was.Places, next.Places)
	return cloud.Put(next), !same
}
