package cloud

import (
	"maps"
	"net/netip"
	"time"
)

// Cluster is what makes a cloud one that others can join. A cloud of one node that was never told to take others has
// none.
type Cluster struct {
	// ID tells the store of this cloud from that of any other, and from its own before it was recovered.
	ID string `json:"id"`
	// Certificate is that of the authority which issues the nodes' certificates (DER, X.509).
	Certificate []byte    `json:"certificate"`
	PrivateKey  Sealed    `json:"private_key"` // PKCS #8
	Started     time.Time `json:"started"`
	// Store is where the user's own etcd is that has the cloud's store, without secrets; "" for micro's etcd.
	Store string `json:"store,omitempty"`
}

const clusterKey Key = "clusters/cloud"

// Key is "clusters/cloud": there is one such object.
func (c *Cluster) Key() Key { return clusterKey }

func (c *Cluster) touch(*touched)    {}
func (c *Cluster) indexes() []string { return nil }

// Cluster returns what makes the cloud one that others can join; false where none can.
func (s *State) Cluster() (*Cluster, bool) { return get[*Cluster](s, clusterKey) }

// StartCluster returns the changes that make the cloud one that others can join, with first as its first node. A start
// that was interrupted before is begun anew.
func (s *State) StartCluster(c Cluster, first NodeName, addr netip.AddrPort, publicKey string) ([]Change, error) {
	node, ok := s.Node(first)
	if !ok {
		return nil, Errorf(Internal, "the cloud does not know its own node %s", first)
	}
	next := *node
	next.Addr, next.PublicKey, next.Joined, next.Copy = addr, publicKey, c.Started, Voter
	if c.Store != "" {
		next.Copy = NoCopy
	}
	return []Change{Put(&c), Put(&next)}, nil
}

// JoinToken lets one more node join, once.
type JoinToken struct {
	ID string `json:"id"`
	// Hash is the SHA-256 of the secret, which is kept nowhere.
	Hash    string    `json:"hash"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
	Expires time.Time `json:"expires"`
}

// MaxJoinTokenLife is how long a token to join may be good for.
const MaxJoinTokenLife = 24 * time.Hour

// Key is "jointokens/ID".
func (t *JoinToken) Key() Key { return Key("jointokens/" + t.ID) }

func (t *JoinToken) touch(*touched)    {}
func (t *JoinToken) indexes() []string { return nil }

// CreateJoinToken returns the changes that keep a token to join, and drop those that have expired.
func (s *State) CreateJoinToken(t JoinToken, at Stamp) ([]Change, error) {
	if _, ok := s.Cluster(); !ok {
		return nil, Errorf(Conflict, "this cloud takes no other nodes yet").WithCommand("micro cluster start")
	}
	if life := t.Expires.Sub(at.At); life <= 0 || life > MaxJoinTokenLife {
		return nil, Errorf(Invalid, "a token to join is good for more than nothing and at most %d hours", int(MaxJoinTokenLife.Hours())).WithCommand("micro cluster token --expires 1h")
	}
	t.Created, t.By = at.At, at.By
	changes := []Change{Put(&t)}
	for old := range all[*JoinToken](s, "jointokens/") {
		if old.Expires.Before(at.At) {
			changes = append(changes, Delete(old))
		}
	}
	return changes[:min(len(changes), maxDropped)], nil
}

// Join returns the changes by which a node joins with a token, which can't be used again. The address of a worker is of its
// slice.
func (s *State) Join(n Node, tokenID, tokenHash string, now time.Time) ([]Change, error) {
	t, ok := get[*JoinToken](s, Key("jointokens/"+tokenID))
	switch {
	case !ok || t.Hash != tokenHash:
		return nil, Errorf(Denied, "this cloud does not know the join token: it was used, or has expired").WithHint("make another one: micro cluster token")
	case !now.Before(t.Expires):
		return nil, Errorf(Denied, "the join token has expired at %s", t.Expires.UTC().Format(time.RFC3339)).WithHint("make another one: micro cluster token")
	}
	if err := ProcessName(n.Name).Validate(); err != nil {
		return nil, Errorf(Invalid, "invalid node name %q", n.Name)
	}
	for other := range s.Nodes() {
		switch {
		case n.Worker && other.Overlay.Mode == OverlayDirect:
			return nil, Errorf(Conflict, "the nodes of this cloud reach each other by direct routes, and none leads to a worker").
				WithHint("start all nodes with --overlay wireguard, or give this one an address that they reach and leave out --worker")
		case other.Name == n.Name:
			return nil, Errorf(Conflict, "this cloud has a node %s already", n.Name).WithHint("choose another name with --name; if the other one is gone for good: micro node remove %s", n.Name)
		case other.Addr == n.Addr && !n.Worker:
			return nil, Errorf(Conflict, "node %s has the address %s already", other.Name, n.Addr).WithHint("choose another one with --cluster")
		}
	}
	n.Joined = now
	if n.Worker {
		n.Addr = netip.AddrPortFrom(n.Gateway(), n.Addr.Port())
	}
	return []Change{Put(&n), Delete(t)}, nil
}

// MustNode returns a node, or an error that a person can use.
func (s *State) MustNode(n NodeName) (*Node, error) {
	node, ok := s.Node(n)
	if !ok {
		return nil, Errorf(NotFound, "no node %q in this cloud", n).WithCommand("micro node list")
	}
	return node, nil
}

// DrainNode returns the change that moves a node's instances to others and gives it no new ones, or ends that.
func (s *State) DrainNode(n NodeName, drain bool) ([]Change, error) {
	node, err := s.MustNode(n)
	if err != nil || node.Drain == drain {
		return nil, err
	}
	if drain && !s.othersTake(n) {
		return nil, Errorf(Conflict, "no other node could take the instances of %s", n).WithCommand("micro node list")
	}
	next := *node
	next.Drain = drain
	return []Change{Put(&next)}, nil
}

// othersTake reports whether a node besides n takes instances.
func (s *State) othersTake(n NodeName) bool {
	for other := range s.Nodes() {
		if other.Name != n && !other.Drain {
			return true
		}
	}
	return false
}

// RemoveNode returns the change by which a node is one of the cloud no more. Unless it is lost, it must have been
// drained, so that nothing runs there.
func (s *State) RemoveNode(n NodeName, lost bool) ([]Change, error) {
	node, err := s.MustNode(n)
	if err != nil {
		return nil, err
	}
	if _, ok := s.Cluster(); !ok || !s.hasOthers(n) {
		return nil, Errorf(Conflict, "node %s is the last one of this cloud", n).WithHint("to remove micro from the machine: micro down")
	}
	if !lost {
		for a := range s.AssignmentsOn(n) {
			return nil, Errorf(Conflict, "node %s still has instances, of %s for example", n, a.ReleaseRef).
				WithHint("micro node drain %s first; if the node is lost for good: micro node remove %s --lost", n, n)
		}
	}
	return []Change{Delete(node)}, nil
}

func (s *State) hasOthers(n NodeName) bool {
	for other := range s.Nodes() {
		if other.Name != n {
			return true
		}
	}
	return false
}

// LabelNode returns the change that sets labels of a node; an empty value removes one.
func (s *State) LabelNode(n NodeName, labels map[string]string) ([]Change, error) {
	node, err := s.MustNode(n)
	if err != nil {
		return nil, err
	}
	next := *node
	next.Labels = maps.Clone(node.Labels)
	if next.Labels == nil {
		next.Labels = map[string]string{}
	}
	for k, v := range labels {
		if k == NodeLabel {
			return nil, Errorf(Invalid, "label %s is the node's name and cannot be set", k)
		}
		if ProcessName(k).Validate() != nil || len(v) > 63 {
			return nil, Errorf(Invalid, "label %s=%s: a name has lower-case letters, digits and hyphens, and a value at most 63 characters", k, v).WithHint("for example zone=a")
		}
		if next.Labels[k] = v; v == "" {
			delete(next.Labels, k)
		}
	}
	if maps.Equal(next.Labels, node.Labels) {
		return nil, nil
	}
	return []Change{Put(&next)}, nil
}

// SetCopies returns the changes that give nodes the copies of the store that they are to have.
func (s *State) SetCopies(copies map[NodeName]StoreCopy) (changes []Change) {
	for n := range s.Nodes() {
		if copies[n.Name] != n.Copy {
			next := *n
			next.Copy = copies[n.Name]
			changes = append(changes, Put(&next))
		}
	}
	return changes
}

// RecoverOn returns the changes that make a node the whole cloud: all others are lost. The cloud's store has a new ID.
func (s *State) RecoverOn(n NodeName, id string) (changes []Change) {
	for node := range s.Nodes() {
		if node.Name != n {
			changes = append(changes, Delete(node))
			continue
		}
		next := *node
		next.Copy, next.Drain = Voter, false
		changes = append(changes, Put(&next))
	}
	if c, ok := s.Cluster(); ok {
		next := *c
		next.ID = id
		changes = append(changes, Put(&next))
	}
	return changes
}
