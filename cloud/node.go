package cloud

import (
	"iter"
	"net/netip"
	"time"
)

// Node is a machine of the cloud, as its owner wants it to be used. Whether it is alive is observed: NodeStatus.
type Node struct {
	Name NodeName `json:"name"`
	// Labels are the owner's. Instances of a release are spread over the values of ZoneLabel.
	Labels   map[string]string `json:"labels,omitempty"`
	Capacity Capacity          `json:"capacity,omitzero"`
	// Size is what the machine has, as it was measured when the node last started. 0 is not known.
	Size Capacity `json:"size,omitzero"`
	// Subnet has the addresses of the node's instances: its slice of the cloud's subnet.
	Subnet  netip.Prefix `json:"subnet,omitzero"`
	Overlay Overlay      `json:"overlay,omitzero"`
	// Drain moves the node's instances to other nodes, and gives it no new ones.
	Drain bool `json:"drain,omitempty"`
	// Addr is where the other nodes reach this one: its cluster port, which speaks TLS with certificates on both sides.
	// Zero for a node that is the whole cloud.
	Addr netip.AddrPort `json:"addr,omitzero"`
	// Worker says that other machines can't connect to the node, for example because it is behind NAT. It connects to them, and
	// they reach it over the overlay alone: Addr is its gateway there. It has no copy of the store.
	Worker bool `json:"worker,omitempty"`
	// PublicKey is the SHA-256 of the node's public key, in hex. Whoever shows another key is not the node.
	PublicKey string    `json:"public_key,omitempty"`
	Joined    time.Time `json:"joined,omitzero"`
	// Copy says whether the node is to have a copy of the store.
	Copy StoreCopy `json:"copy,omitempty"`
	// Version is the micro that the node last started with, and Reads the newest version of the store's format that it
	// reads; "" and 0 where it does not say.
	Version string `json:"version,omitempty"`
	Reads   int    `json:"reads,omitempty"`
}

// Gateway returns the node's own address among those of its instances; invalid where it has no slice yet.
func (n *Node) Gateway() netip.Addr {
	if !n.Subnet.IsValid() {
		return netip.Addr{}
	}
	return n.Subnet.Masked().Addr().Next()
}

// StoreCopy is what a node has of the cloud's store.
type StoreCopy string

// The copies of the store. A majority of the voters' must be reached to change anything; learners have all and have no
// vote; others ask a voter.
const (
	NoCopy  StoreCopy = ""
	Voter   StoreCopy = "voter"
	Learner StoreCopy = "learner"
)

// ZoneLabel is the label that says which nodes fail together.
const ZoneLabel = "zone"

// NodeLabel is a label that every node has: its name.
const NodeLabel = "node"

// HasLabels reports whether the node has all of the labels.
func (n *Node) HasLabels(labels map[string]string) bool {
	for name, value := range labels {
		if has := n.Labels[name]; has != value && (name != NodeLabel || string(n.Name) != value) {
			return false
		}
	}
	return true
}

// Capacity is what all instances of a node together may be allowed to use. 0 sets no bound: limits are
// ceilings, and a node that is the whole cloud has nobody to send an instance to.
type Capacity struct {
	Memory int64 `json:"memory,omitempty"` // bytes
	CPU    int64 `json:"cpu,omitempty"`    // thousandths of a core
}

// Key is "nodes/NAME".
func (n *Node) Key() Key { return nodeKey(n.Name) }

func (n *Node) touch(t *touched)  { t.nodes[n.Name] = true }
func (n *Node) indexes() []string { return nil }

func nodeKey(n NodeName) Key { return Key("nodes/" + string(n)) }

// Node returns the node of the name.
func (s *State) Node(n NodeName) (*Node, bool) { return get[*Node](s, nodeKey(n)) }

// Nodes yields all nodes by name.
func (s *State) Nodes() iter.Seq[*Node] { return all[*Node](s, "nodes/") }

// SoleNode returns the changes that make n the one node of the cloud, at most as many as asked for: it is
// called again until there are none. What another node had, n has: it is the same machine under another name.
func (s *State) SoleNode(n Node, most int) []Change {
	var others []Change
	_, known := s.Node(n.Name)
	for other := range s.Nodes() {
		if other.Name != n.Name {
			others = append(others, Delete(other))
		}
	}
	if known && len(others) == 0 {
		return nil
	}
	var changes []Change
	for a := range s.AllAssignments() {
		if moved, ok := a.allOn(n.Name); ok {
			changes = append(changes, Put(moved))
		}
	}
	for h := range s.Homes() {
		if h.Node != n.Name {
			changes = append(changes, Put(&Home{AppRef: h.AppRef, Node: n.Name}))
		}
	}
	if !known { // else its labels and limits are its owner's
		changes = append(changes, Put(&n))
	}
	changes = append(changes, others...) // last, so that what was cut off goes on
	return changes[:min(most, len(changes))]
}
