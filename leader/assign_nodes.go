package leader

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/protoduction/micro/cloud"
)

// cluster is the nodes of a view, and what is left on them as places are given and taken back.
type cluster struct {
	cloud.View
	machines map[cloud.NodeName]*machine
	usable   []*machine // those that take new instances, by name
}

// machine is a node, as far as giving places is concerned.
type machine struct {
	*cloud.Node
	known, alive bool
	zone         string
	counted      bool // used has what the state's places use
	used         use
	given        use // since then, by this Assign
}

// use is what places use of a node.
type use struct {
	cloud.Capacity
	places int
}

func (u *use) add(p cloud.Place, times int) {
	u.Memory += int64(times) * p.Memory
	u.CPU += int64(times) * p.CPU
	u.places += times
}

func newCluster(v cloud.View) *cluster {
	c := &cluster{View: v, machines: map[cloud.NodeName]*machine{}}
	for n := range v.State.Nodes() {
		m := &machine{Node: n, zone: n.Labels[cloud.ZoneLabel]}
		if status, ok := v.Instances.NodeStatus(n.Name); ok {
			m.known, m.alive = true, status.Alive
		}
		c.machines[n.Name] = m
		if m.alive && !n.Drain {
			c.usable = append(c.usable, m)
		}
	}
	return c
}

// dead says whether nothing runs on a node any more that has the right to: its lease has ended, or it is no
// node of the cloud. A node of which nothing is known yet is not dead.
func (c *cluster) dead(n cloud.NodeName) bool {
	m, ok := c.machines[n]
	return !ok || m.known && !m.alive
}

// drains says whether instances of a node are to move to others.
func (c *cluster) drains(n cloud.NodeName) bool {
	m, ok := c.machines[n]
	return ok && m.Drain
}

func (c *cluster) gave(p cloud.Place, times int) {
	if m, ok := c.machines[p.Node]; ok {
		m.given.add(p, times)
	}
}

// usage is what all places of a node use, as they are to be.
func (c *cluster) usage(m *machine) use {
	if !m.counted {
		m.counted = true
		for a := range c.State.AssignmentsOn(m.Name) {
			for _, p := range a.Places {
				if p.Node == m.Name {
					m.used.add(p, 1)
				}
			}
		}
	}
	u := m.used
	u.Memory, u.CPU, u.places = u.Memory+m.given.Memory, u.CPU+m.given.CPU, u.places+m.given.places
	return u
}

// fits says whether a node has room for one more instance.
func (c *cluster) fits(m *machine, s cloud.Scale) bool {
	if m.Capacity == (cloud.Capacity{}) {
		return true
	}
	u := c.usage(m)
	return (m.Capacity.Memory == 0 || u.Memory+s.Memory <= m.Capacity.Memory) &&
		(m.Capacity.CPU == 0 || u.CPU+s.CPU <= m.Capacity.CPU)
}

// compareLoad orders nodes by how much of them is used: by the share of their memory, then by its size, then
// by the number of places.
func (c *cluster) compareLoad(a, b *machine) int {
	x, y := c.usage(a), c.usage(b)
	return cmp.Or(
		cmp.Compare(share(x.Memory, a.Capacity.Memory), share(y.Memory, b.Capacity.Memory)),
		cmp.Compare(x.Memory, y.Memory), cmp.Compare(x.places, y.places), cmp.Compare(a.Name, b.Name))
}

// share is how much of a capacity is used, in thousandths; 0 of one without bound.
func share(used, capacity int64) int64 {
	if capacity == 0 {
		return 0
	}
	return used * 1000 / capacity
}

// compared is how many nodes are compared for a place by their load: more would not make the choice better,
// and a cloud may have a thousand.
const compared = 16

// spread counts the places of a process by node and zone.
type spread struct {
	byNode map[*machine]int
	byZone map[string]int
}

func newSpread() spread { return spread{map[*machine]int{}, map[string]int{}} }

func (s spread) add(m *machine) {
	if m != nil {
		s.byNode[m]++
		s.byZone[m.zone]++
	}
}

// rank is lower for a node that is better for one more place: first zones are evened out, then nodes.
func (s spread) rank(m *machine) int { return s.byZone[m.zone]<<32 | s.byNode[m] }

// pick returns the node for one more place of a slot: of those with room, one in the zone and with the
// number of places of the process that evens them out; prefer where that is as good as another, for then
// nothing moves; else the one that is used least.
func (c *cluster) pick(slot cloud.Slot, scale cloud.Scale, s spread, prefer cloud.NodeName) (*machine, bool) {
	for rank := -1; ; {
		next, group := -1, []*machine(nil)
		for _, m := range c.usable {
			switch r := s.rank(m); {
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
		if k := slices.IndexFunc(group, func(m *machine) bool { return m.Name == prefer }); k >= 0 && c.fits(group[k], scale) {
			return group[k], true
		}
		if m := c.leastUsed(slot, scale, group); m != nil {
			return m, true
		}
	}
}

// leastUsed compares some of the nodes that have room, beginning with one that depends on the slot, so that
// not all slots crowd on the same.
func (c *cluster) leastUsed(slot cloud.Slot, scale cloud.Scale, group []*machine) *machine {
	h := fnv.New32a()
	_, _ = h.Write([]byte(slot.String()))
	start, seen := int(h.Sum32())%len(group), 0
	var best *machine
	for k := range group {
		m := group[(start+k)%len(group)]
		if !c.fits(m, scale) {
			continue
		}
		if best == nil || c.compareLoad(m, best) < 0 {
			best = m
		}
		if seen++; seen == compared {
			break
		}
	}
	return best
}

// room says how much an instance needs, for a person.
func room(s cloud.Scale) string {
	text := cloud.FormatSize(s.Memory) + " of memory"
	if s.CPU > 0 {
		text += fmt.Sprintf(" and %.2g CPUs", float64(s.CPU)/1000)
	}
	return text
}
