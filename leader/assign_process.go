package leader

import (
	"fmt"
	"slices"

	"github.com/protoduction/micro/cloud"
)

// process gives the slots of one process of a release their places.
type process struct {
	*draft
	name   cloud.ProcessName
	scale  cloud.Scale
	ends   map[cloud.NodeName]bool // where something ends that must not run beside it
	spread *spread                 // nil until a node has to be picked
	pace   pace
}

func newProcess(d *draft, name cloud.ProcessName, scale cloud.Scale, ends map[cloud.NodeName]bool) *process {
	return &process{draft: d, name: name, scale: scale, ends: ends}
}

// fresh says whether a place is one to keep: of the release as it is to run now, on a node that stays.
func (p *process) fresh(place cloud.Place) bool {
	return !place.Leaving && place.Generation >= p.rel.Generation && !p.drains(place.Node) && !p.misplaced(place)
}

// once gives the release command its place. It runs once: a place that it has, it keeps.
func (p *process) once() {
	for _, place := range p.places {
		if place.Process == p.name && !place.Leaving {
			if p.dead(place.Node) {
				p.wait(fmt.Sprintf("node %s, where the release command ran, is gone", place.Node))
			}
			return
		}
	}
	if len(p.bySlot[p.slot(p.name, 0)]) == 0 {
		p.place(0, "")
	}
}

// fill gives places to empty slots, and replaces those of an older generation and of nodes that are being
// drained: the old place goes when the new one's instance is ready; or first, where two must not run at
// once, or no more than the formation may.
func (p *process) fill() {
	p.dropUseless()
	p.pace = p.newPace()
	for index := range p.scale.Instances {
		fresh, old := p.sort(index)
		hasReady := p.hasReady(old)
		prefer := cloud.NodeName("")
		if len(old) > 0 {
			prefer = old[0].Node
		}
		switch {
		case len(fresh) > 0:
			if p.hasReady(fresh) {
				p.takeBackAll(old)
			}
		case p.alone() && len(old) > 0:
			p.takeBackAll(old)
			if p.pace.mayFill() {
				p.place(index, prefer)
			}
		case len(old) == 0:
			if p.pace.mayFill() {
				p.place(index, p.lastNode(index))
			}
		case p.pace.downFirst:
			if p.pace.mayTakeDown(hasReady) && p.hasRoom(old) {
				p.takeBackAll(old)
				p.pace.takenDown(hasReady)
			}
		case p.pace.mayReplace():
			p.place(index, prefer)
		}
	}
}

// hasRoom says whether a slot could have a place if it gave up its old ones.
func (p *process) hasRoom(old []cloud.Place) bool {
	for _, m := range p.usable() {
		if slices.ContainsFunc(old, func(place cloud.Place) bool { return place.Node == m.Name }) {
			return true
		}
	}
	if _, ok := p.pick(""); !ok {
		p.wait(p.noRoom())
		return false
	}
	return true
}

// noRoom says that no node has room, for a person.
func (p *process) noRoom() string {
	switch {
	case len(p.usable()) == 0:
		return "no node is there to take an instance of " + string(p.name)
	case !p.someAdmit():
		return fmt.Sprintf("no node that takes instances has the labels %s, which %s asks for", p.labels(), p.name)
	case len(p.rel.Spec.Place) > 0:
		return fmt.Sprintf("no node with the labels %s has %s left for an instance of %s", p.labels(), room(p.scale), p.name)
	}
	return fmt.Sprintf("no node has %s left for an instance of %s", room(p.scale), p.name)
}

// sort returns the places of a slot that are to stay, the one to stay if it may be but one first, and the
// older ones.
func (p *process) sort(index int) (fresh, old []cloud.Place) {
	for _, place := range p.places {
		switch {
		case place.Process != p.name || place.Index != index || place.Leaving:
		case p.fresh(place):
			fresh = append(fresh, place)
		default:
			old = append(old, place)
		}
	}
	return fresh, old
}

// dropUseless takes back what nobody needs: places on nodes that are dead, doubles, and older ones by which
// nothing serves.
func (p *process) dropUseless() {
	var useless []cloud.Place
	for index := range p.scale.Instances {
		fresh, old := p.sort(index)
		fresh = slices.DeleteFunc(fresh, func(place cloud.Place) bool {
			if p.dead(place.Node) && p.mayDrop(place) && !p.atHome(place) {
				useless = append(useless, place)
				return true
			}
			return false
		})
		if len(fresh) > 1 {
			keep := max(0, slices.IndexFunc(fresh, func(place cloud.Place) bool { return p.is(place, ready) }))
			useless = append(useless, slices.Delete(fresh, keep, keep+1)...)
		}
		// Two older ones are left where a replacement came to be replaced itself: with both, the slot may have no
		// room for the next one, and neither would ever go.
		kept := -1
		for k, place := range old {
			if p.is(place, ready) {
				kept = k // the newest
			}
		}
		for k, place := range old {
			if !p.is(place, serves) || kept >= 0 && k != kept {
				useless = append(useless, place) // it may hang, or another serves
			}
		}
	}
	p.takeBackAll(useless)
}

// atHome says whether a place is on the node that has the release's volumes: it waits there for the node to
// come back.
func (p *process) atHome(place cloud.Place) bool {
	return p.machine(place.Node) != nil && len(p.rel.Spec.Volumes) > 0 && p.home != nil && p.home.Node == place.Node
}

func (d *draft) takeBackAll(list []cloud.Place) {
	if len(list) > 0 {
		d.takeBack(func(place cloud.Place) bool { return slices.Contains(list, place) })
	}
}

// lastNode is where something of the slot still is, on its way to its end.
func (p *process) lastNode(index int) cloud.NodeName {
	for _, place := range p.places {
		if place.Process == p.name && place.Index == index {
			return place.Node
		}
	}
	for _, i := range p.bySlot[p.slot(p.name, index)] {
		return i.Node
	}
	return ""
}

// place gives a slot a place, unless it must wait or no node has room.
func (p *process) place(index int, prefer cloud.NodeName) {
	if reason := p.unmet(); reason != "" {
		p.wait(reason)
		return
	}
	slot := p.slot(p.name, index)
	m, ok := p.only(slot)
	switch {
	case !ok:
		return // what is to end first has not ended
	case m != nil && m.hasRoom(p.scale):
	case m != nil:
		p.wait(fmt.Sprintf("node %s, the one that %s.%d may run on, does not have %s left", m.Name, p.name, index, room(p.scale)))
		return
	default:
		if m, ok = p.pick(prefer); !ok {
			p.wait(p.noRoom())
			return
		}
	}
	if len(p.rel.Spec.Volumes) > 0 {
		p.settleAt(m.Name)
	}
	next := cloud.Place{
		Process: p.name, Index: index, Node: m.Name, Generation: p.rel.Generation, Token: p.nextToken(p.name, index),
		Memory: p.scale.Memory, CPU: p.scale.CPU, Alone: p.alone() || len(p.ends) > 0,
	}
	// The node itself lets the old one end first.
	p.drop(func(place cloud.Place) bool {
		return place.Leaving && place.Process == p.name && place.Index == index && place.Node == m.Name
	})
	p.places = append(p.places, next)
	p.gave(next, 1)
	if p.spread != nil {
		p.spread.add(m)
	}
	p.pace.placed()
}

// unmet returns what keeps instances of the release from having places, "" for nothing. Containers may be made as soon as
// their credentials are known: their nodes start the programs when the services know the accounts. Where instances must end
// for the new ones, they run until then.
func (d *draft) unmet() string {
	r := d.app.Rollout
	replaces := d.alone() || len(d.rel.Spec.Volumes) > 0 || r != nil && r.To == d.n && r.Strategy.Kind == cloud.Recreate
	if !replaces && d.State.Issued(d.rel) && d.sameVersion() {
		return ""
	}
	return d.State.Unmet(d.rel)
}

// only returns the one node that a slot may have its place on, nil where any will do; ok is false where it
// must wait: for what may not run beside it to end on another node, or for the node that has its volumes.
func (p *process) only(slot cloud.Slot) (m *machine, ok bool) {
	at := cloud.NodeName("")
	if len(p.rel.Spec.Volumes) > 0 && p.home != nil {
		if p.machine(p.home.Node) != nil {
			at = p.home.Node
		}
	}
	if at == "" && len(p.usable()) == 1 {
		at = p.usable()[0].Name
	}
	busy := p.busy(slot)
	if at == "" && len(busy) == 1 && len(p.ends) == 0 {
		for n := range busy {
			at = n // it need not wait for another node there
		}
	}
	for _, nodes := range []map[cloud.NodeName]bool{busy, p.ends} {
		for n := range nodes {
			if n != at {
				return nil, false
			}
		}
	}
	if at == "" {
		return nil, true
	}
	if m := p.machine(at); m != nil && m.alive && !m.Drain && p.admits(m) {
		return m, true
	}
	switch m := p.machine(at); {
	case m != nil && !p.admits(m):
		p.wait(fmt.Sprintf("node %s, the one that %s.%d may run on, lacks the labels %s", at, slot.Process, slot.Index, p.labels()))
	case len(busy) == 0:
		p.wait(fmt.Sprintf("node %s, which has the volumes of the app, is away or being drained", at))
	}
	return nil, false
}

// busy returns the nodes on which a slot is taken that one instance at a time may have.
func (p *process) busy(slot cloud.Slot) map[cloud.NodeName]bool {
	if !p.alone() {
		return nil
	}
	nodes := map[cloud.NodeName]bool{}
	for _, i := range p.bySlot[slot] {
		if i.Phase != cloud.InstanceExited {
			nodes[i.Node] = true
		}
	}
	for _, place := range p.places {
		if place.Process == slot.Process && place.Index == slot.Index {
			nodes[place.Node] = true
		}
	}
	return nodes
}

// settleAt makes a node the one that has the app's volumes.
func (a *assigner) settleAt(n cloud.NodeName) {
	if a.home == nil || a.home.Node != n {
		a.home = &cloud.Home{AppRef: a.ref, Node: n}
	}
}

// wait notes why a slot has no place, the first reason only.
func (d *draft) wait(reason string) {
	if d.reason == "" {
		d.reason = reason
	}
}
