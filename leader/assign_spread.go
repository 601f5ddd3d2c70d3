package leader

import (
	"slices"

	"github.com/protoduction/micro/cloud"
)

// spread counts the places of a process by zone and node.
type spread struct {
	zone  []int // of each usable node
	zones []int // places by zone
	nodes []int // places by usable node
}

// newSpread counts the places of a process that stay.
func (p *process) newSpread() *spread {
	usable := p.usable()
	s := &spread{zone: make([]int, len(usable)), zones: make([]int, len(p.zones)), nodes: make([]int, len(usable))}
	for k, m := range usable {
		s.zone[k] = p.zone(m)
	}
	for _, place := range p.places {
		if m := p.machine(place.Node); place.Process == p.name && p.fresh(place) && m != nil {
			s.zones[p.zone(m)]++
			if m.alive && !m.Drain {
				s.nodes[m.order]++
			}
		}
	}
	return s
}

func (s *spread) add(m *machine) {
	s.zones[s.zone[m.order]]++
	s.nodes[m.order]++
}

// rank is lower for a node that is better for one more place: zones are evened out first, then nodes.
func (s *spread) rank(k int) int { return s.zones[s.zone[k]]<<32 | s.nodes[k] }

// pick returns the node for one more place of a process: of those with room, one in the zone and with the
// number of places of the process that evens them out; prefer where that is as good as another, for then
// nothing moves; else the one that is used least.
func (p *process) pick(prefer cloud.NodeName) (*machine, bool) {
	if p.spread == nil {
		p.spread = p.newSpread()
	}
	var group []*machine
	for rank := -1; ; {
		next := -1
		for k, m := range p.usable() {
			switch r := p.spread.rank(k); {
			case !p.admits(m):
			case r <= rank || next >= 0 && r > next:
			case r == next:
				group = append(group, m)
			default:
				next, group = r, append(group[:0], m)
			}
		}
		if next < 0 {
			return nil, false
		}
		rank = next
		if k := slices.IndexFunc(group, func(m *machine) bool { return m.Name == prefer }); k >= 0 && group[k].hasRoom(p.scale) {
			return group[k], true
		}
		var best *machine
		for _, m := range group {
			if m.hasRoom(p.scale) && (best == nil || compareLoad(m, best) < 0) {
				best = m
			}
		}
		if best != nil {
			return best, true
		}
	}
}
