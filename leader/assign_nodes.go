package leader

import (
	"cmp"
	"fmt"

	"github.com/protoduction/micro/cloud"
)

// cluster is the nodes of a view, and what is left on them as places are given and taken back. Nodes are looked
// at when they are asked for: a change of an app that has its places asks for few.
type cluster struct {
	cloud.View
	machines map[cloud.NodeName]*machine // nil for what is no node
	listed   bool                        // takers and zones are complete
	takers   []*machine
	zones    map[string]int // by label, the zones' numbers
}

// sameVersion reports whether all nodes run the same micro. While nodes are being upgraded, some may start programs at once
// that others start later.
func (c *cluster) sameVersion() bool {
	first, version := true, ""
	for n := range c.State.Nodes() {
		if !first && n.Version != version {
			return false
		}
		first, version = false, n.Version
	}
	return true
}

// machine is a node, as far as giving places is concerned.
type machine struct {
	*cloud.Node
	alive bool
	order int       // among those that take new instances
	used  cloud.Use // by all places, as they are to be
}

func newCluster(v cloud.View) *cluster {
	return &cluster{View: v, machines: map[cloud.NodeName]*machine{}, zones: map[string]int{}}
}

// empty says whether no node has joined yet.
func (c *cluster) empty() bool {
	for range c.State.Nodes() {
		return false
	}
	return true
}

// machine returns a node; nil where there is none of the name.
func (c *cluster) machine(name cloud.NodeName) *machine {
	m, ok := c.machines[name]
	if ok {
		return m
	}
	if n, ok := c.State.Node(name); ok {
		m = c.newMachine(n)
	}
	c.machines[name] = m
	return m
}

func (c *cluster) newMachine(n *cloud.Node) *machine {
	m := &machine{Node: n, used: c.State.Used(n.Name)}
	if status, ok := c.Instances.NodeStatus(n.Name); ok {
		m.alive = status.Alive
	}
	return m
}

// usable returns the nodes that take new instances, by name.
func (c *cluster) usable() []*machine {
	if c.listed {
		return c.takers
	}
	c.listed = true
	for n := range c.State.Nodes() {
		m := c.machines[n.Name]
		if m == nil {
			m = c.newMachine(n)
			c.machines[n.Name] = m
		}
		c.zone(m)
		if m.alive && !n.Drain {
			m.order = len(c.takers)
			c.takers = append(c.takers, m)
		}
	}
	return c.takers
}

// zone returns the number of a node's zone.
func (c *cluster) zone(m *machine) int {
	label := m.Labels[cloud.ZoneLabel]
	k, ok := c.zones[label]
	if !ok {
		k = len(c.zones)
		c.zones[label] = k
	}
	return k
}

// dead says whether a node is away: its lease has ended, or it is no node of the cloud and has none. A node of the cloud of
// which nothing is known yet is not dead.
func (c *cluster) dead(n cloud.NodeName) bool {
	status, ok := c.Instances.NodeStatus(n)
	if !ok {
		return c.machine(n) == nil
	}
	return !status.Alive
}

// gone says whether a dead node has surely ended what must not run twice.
func (c *cluster) gone(n cloud.NodeName) bool {
	status, ok := c.Instances.NodeStatus(n)
	return c.dead(n) && (!ok || !status.Fenced)
}

// drains says whether instances of a node are to move to others.
func (c *cluster) drains(n cloud.NodeName) bool {
	m := c.machine(n)
	return m != nil && m.Drain
}

// gave counts a place that was given, or taken back: times is 1 or -1.
func (c *cluster) gave(p cloud.Place, times int) {
	if m := c.machine(p.Node); m != nil {
		m.used.Add(p, times)
	}
}

// hasRoom reports whether a node has room for another instance.
func (m *machine) hasRoom(s cloud.Scale) bool {
	return (m.Capacity.Memory == 0 || m.used.Memory+s.Memory <= m.Capacity.Memory) &&
		(m.Capacity.CPU == 0 || m.used.CPU+s.CPU <= m.Capacity.CPU)
}

// compareLoad orders nodes by how much of them is used: by the share of their memory, then by its size, then
// by the number of places.
func compareLoad(a, b *machine) int {
	x, y := a.used, b.used
	return cmp.Or(
		cmp.Compare(share(x.Memory, a.Capacity.Memory), share(y.Memory, b.Capacity.Memory)),
		cmp.Compare(x.Memory, y.Memory), cmp.Compare(x.Places, y.Places), cmp.Compare(a.Name, b.Name))
}

// share is how much of a capacity is used, in thousandths; 0 of one without bound.
func share(used, capacity int64) int64 {
	if capacity == 0 {
		return 0
	}
	return used * 1000 / capacity
}

// room says how much an instance needs, for a person.
func room(s cloud.Scale) string {
	text := cloud.FormatSize(s.Memory) + " of memory"
	if s.CPU > 0 {
		text += fmt.Sprintf(" and %.2g CPUs", float64(s.CPU)/1000)
	}
	return text
}
