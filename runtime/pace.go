package runtime

import (
	"math"
	"slices"

	"github.com/protoduction/micro/cloud"
)

// pace is how much of a process may be on its way at a time: to be started, and to be replaced by
// another generation.
type pace struct {
	fill, roll int // instances that may be starting: in empty slots, and beside those that they replace
	most       int // instances that may exist
	downFirst  bool
	least      int // ready ones that stay when others are taken down first

	starting int
	exist    int // those that drain count if they are replaced; one that is ended as unwell costs no room
	ready    int // slots with a ready instance
	away     int // slots without one, and without an older one that may yet be ready again
}

func paceOf(rel *cloud.Release, name cloud.ProcessName, count int, bySlot map[cloud.Slot][]*cloud.Instance) pace {
	s := rel.Spec.Strategy
	p := pace{fill: s.Batch, roll: s.Batch, most: math.MaxInt}
	if s.Batch == 0 {
		p.fill, p.roll = count, max(1, count/2)
	}
	if s.Surge != nil {
		surge := *s.Surge
		if count == 1 {
			surge = max(1, surge) // nobody else would serve
		}
		p.most, p.downFirst = count+surge, surge == 0
		if p.downFirst && s.Batch == 0 {
			p.roll = 1
		}
	}
	p.least = max(1, count-p.roll)
	for index := range count {
		list := bySlot[slotOf(rel, name, index)]
		for _, i := range list {
			if i.Phase == cloud.InstanceStarting && i.Generation >= rel.Generation {
				p.starting++
			}
			if i.Phase.Live() || i.Phase != cloud.InstanceExited && i.Generation < rel.Generation {
				p.exist++
			}
		}
		switch _, old, _ := sortOut(list, rel.Generation); {
		case slices.ContainsFunc(list, ready):
			p.ready++
		case len(old) == 0:
			p.away++
		}
	}
	return p
}

func (p *pace) mayFill() bool    { return p.starting < p.fill && p.exist < p.most }
func (p *pace) mayReplace() bool { return p.starting < p.roll && p.exist < p.most }

func (p *pace) started() {
	p.starting++
	p.exist++
}

// mayTakeDown says whether a slot's old instances may end before their replacement starts.
func (p *pace) mayTakeDown(old []*cloud.Instance) bool {
	return p.away < p.roll && (!slices.ContainsFunc(old, ready) || p.ready > p.least)
}

func (p *pace) takenDown(old []*cloud.Instance) {
	p.away++
	if slices.ContainsFunc(old, ready) {
		p.ready--
	}
}
