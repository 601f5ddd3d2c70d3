package cloud

import (
	"iter"
	"net/netip"
)

// NodeStatus is what is known of a node now.
type NodeStatus struct {
	Name NodeName `json:"name"`
	// Alive is false for a node whose lease has ended. By then it has ended its instances that must not run
	// twice; whether the others still run, nobody can know.
	Alive bool `json:"alive"`
	// Fenced says that what must not run twice may still run on a node that is not alive. That is so for some seconds after
	// its lease has ended, because etcd may end a lease too early. It is also so where a node looks at itself that could not
	// renew its lease: for the others the lease may last for a while.
	Fenced bool `json:"-"`
	// Left says that the node has ended what must not run twice, and gives up its lease.
	Left bool `json:"left,omitempty"`
	// Routers are the addresses at which other machines reach the internal listeners of another node, on the usual ports.
	Routers []netip.Addr `json:"routers,omitempty"`
}

// WithNode returns the instances with s in the place of what was known of its node.
func (o *Instances) WithNode(s *NodeStatus) *Instances {
	n := o.next()
	n.nodes, _, _ = o.nodes.Insert([]byte(s.Name), s)
	return n
}

// WithoutNode returns the instances without what was known of a node.
func (o *Instances) WithoutNode(name NodeName) *Instances {
	n := o.next()
	n.nodes, _, _ = o.nodes.Delete([]byte(name))
	return n
}

// NodeStatus returns what is known of a node.
func (o *Instances) NodeStatus(n NodeName) (*NodeStatus, bool) { return o.nodes.Get([]byte(n)) }

// NodeStatuses yields what is known of all nodes, by name.
func (o *Instances) NodeStatuses() iter.Seq[*NodeStatus] { return prefixed(o.nodes, "") }

// Left is what a node says of a slot that was taken from it: no instance runs there by a place with this
// token, or with one before it.
type Left struct {
	Slot
	Node  NodeName `json:"node"`
	Token Revision `json:"token"`
}

// WithLeft returns the instances with l in the place of what its node said of the slot before.
func (o *Instances) WithLeft(l *Left) *Instances {
	n := o.next(l.AppRef)
	n.left, _, _ = o.left.Insert([]byte(l.key()+string(l.Node)), l)
	return n
}

// WithoutLeft forgets what a node said of a slot.
func (o *Instances) WithoutLeft(s Slot, node NodeName) *Instances {
	n := o.next(s.AppRef)
	n.left, _, _ = o.left.Delete([]byte(s.key() + string(node)))
	return n
}

// Left returns the token up to which a node says that nothing runs in a slot; 0 where it says nothing.
func (o *Instances) Left(s Slot, node NodeName) (Revision, bool) {
	l, ok := o.left.Get([]byte(s.key() + string(node)))
	if !ok {
		return 0, false
	}
	return l.Token, true
}

// LeftOf yields what nodes say of the slots of an app.
func (o *Instances) LeftOf(r AppRef) iter.Seq[*Left] {
	return prefixed(o.left, string(r.Group)+"/"+string(r.App)+"/")
}
