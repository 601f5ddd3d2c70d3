package leader

import (
	"math"
	"slices"

	"github.com/protoduction/micro/cloud"
)

// pace is how much of a process may be on its way at a time: to be started, and to be replaced.
type pace struct {
	fill, roll int // instances that may be starting: in empty slots, and beside those that they replace
	most       int // instances that may exist
	downFirst  bool
	least      int // ready ones that stay when others are taken down first

	starting  int // instances that have a place and are not up
	replacing int // those, and the ones that crashed and wait for their next try
	exist     int // those that drain count if they are replaced; one that is ended as unwell costs no room
	ready     int // slots with a ready instance
	away      int // slots without one, and without an older one that may yet be ready again
}

// newPace counts what there is of a process with count slots.
func (p *process) newPace() pace {
	s, count := p.rel.Spec.Strategy, p.scale.Instances
	pc := pace{fill: s.Batch, roll: s.Batch, most: math.MaxInt}
	if s.Batch == 0 {
		pc.fill, pc.roll = count, max(1, count/2)
	}
	if s.Surge != nil {
		surge := *s.Surge
		if count == 1 {
			surge = max(1, surge) // nobody else would serve
		}
		pc.most, pc.downFirst = count+surge, surge == 0
		if pc.downFirst && s.Batch == 0 {
			pc.roll = 1
		}
	}
	pc.least = max(1, count-pc.roll)
	for index := range count {
		slot := p.slot(p.name, index)
		fresh, old := p.sort(index)
		pc.exist += len(old)
		for _, place := range fresh {
			pc.exist++
			switch {
			case p.is(place, serves):
			case p.is(place, starting):
				pc.starting++
				pc.replacing++
			default:
				c, ok := p.Instances.Crashes(slot)
				if pc.replacing++; !ok || c.Generation != place.Generation {
					pc.starting++ // it is about to start
				}
			}
		}
		for _, i := range p.bySlot[slot] {
			if p.placeOf(i) < 0 && p.wasReplaced(i) {
				pc.exist++
			}
		}
		// One that has lost its place counts no more, also while its node has not heard of that yet.
		switch {
		case p.hasReady(fresh) || p.hasReady(old):
			pc.ready++
		case len(old) == 0:
			pc.away++
		}
	}
	return pc
}

// wasReplaced says whether an instance without a place is one that another takes the place of.
func (p *process) wasReplaced(i *cloud.Instance) bool {
	return i.Phase.Live() || i.Phase != cloud.InstanceExited && (i.Generation < p.rel.Generation || p.drains(i.Node))
}

// hasReady says whether a ready instance runs by one of the places.
func (d *draft) hasReady(places []cloud.Place) bool {
	return slices.ContainsFunc(places, func(p cloud.Place) bool { return d.is(p, ready) })
}

func starting(i *cloud.Instance) bool { return i.Phase == cloud.InstanceStarting }

func (p *pace) mayFill() bool    { return p.starting < p.fill && p.exist < p.most }
func (p *pace) mayReplace() bool { return p.replacing < p.roll && p.exist < p.most }

func (p *pace) placed() {
	p.starting++
	p.replacing++
	p.exist++
}

// mayTakeDown says whether a slot's old instances may end before their replacement starts.
func (p *pace) mayTakeDown(hasReady bool) bool {
	return p.away < p.roll && (!hasReady || p.ready > p.least)
}

func (p *pace) takenDown(hasReady bool) {
	p.away++
	if hasReady {
		p.ready--
	}
}
