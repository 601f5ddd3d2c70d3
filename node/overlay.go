package node

import (
	"context"
	"crypto/ecdh"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
	"github.com/protoduction/micro/runtime/network"
)

// slice returns the configured subnet, or that which the cloud has given this node, or that of the last start. It is
// invalid for a new node, which chooses one.
func (n *Node) slice() netip.Prefix {
	if n.cfg.Subnet.IsValid() {
		return n.cfg.Subnet
	}
	if own, ok := n.snapshots.View().State.Node(n.cfg.Name); ok && own.Subnet.IsValid() {
		return own.Subnet
	}
	return n.chosen.Subnet
}

// openOverlay returns the key and the UDP port by which other nodes reach this one, also on a node that is the whole
// cloud: others may join at any time.
func (n *Node) openOverlay() (key *ecdh.PrivateKey, port uint16, err error) {
	if n.leaving() {
		return nil, 0, nil
	}
	if key, err = network.LoadKey(n.data.Path("overlay.key")); err != nil {
		return nil, 0, err
	}
	if n.cfg.Overlay.Port == 0 {
		n.cfg.Overlay.Port = n.chosen.OverlayPort
	}
	if n.cfg.Overlay.Port == 0 {
		if n.cfg.Overlay.Port, err = network.PickPort(); err != nil {
			return nil, 0, err
		}
	}
	port = n.cfg.Overlay.Port
	n.overlay = cloud.Overlay{Mode: n.cfg.Overlay.Mode, Key: network.PublicKey(key), Port: port}
	if m := n.member.Load(); m != nil && m.Worker {
		n.overlay.Port = 0
	}
	return key, port, nil
}

// recordNetwork tells the cloud how this node's instances are reached. It writes only what has changed.
func (n *Node) recordNetwork(ctx context.Context) error {
	_, err := n.store.Update(ctx, cloud.Actor{Name: "micro"}, "network", "node "+string(n.cfg.Name), func(s *cloud.State) ([]cloud.Change, error) {
		return s.SetNetwork(n.cfg.Name, n.net.Subnet(), n.overlay)
	})
	return err
}

// subnets returns the subnets of all nodes' instances.
func (n *Node) subnets() []netip.Prefix {
	subnets := []netip.Prefix{n.net.Subnet()}
	for other := range n.snapshots.View().State.Nodes() {
		if other.Name != n.cfg.Name && other.Subnet.IsValid() {
			subnets = append(subnets, other.Subnet)
		}
	}
	return subnets
}

// answering has the nodes that have answered over the overlay since this one started.
type answering struct {
	mu      sync.Mutex
	nodes   map[cloud.NodeName]bool
	changed chan struct{} // closed and replaced when a node is added
}

func newAnswering() *answering {
	return &answering{nodes: map[cloud.NodeName]bool{}, changed: make(chan struct{})}
}

func (a *answering) add(node cloud.NodeName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nodes[node] = true
	close(a.changed)
	a.changed = make(chan struct{})
}

// has reports whether all of some nodes have answered, and returns a channel that is closed when that may have changed.
func (a *answering) has(nodes []cloud.NodeName) (bool, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !slices.ContainsFunc(nodes, func(n cloud.NodeName) bool { return !a.nodes[n] }), a.changed
}

// overlayTimeout is how long a start waits for answers of other nodes, which a firewall may keep back.
const overlayTimeout = 1500 * time.Millisecond

// awaitOverlay waits until living nodes with instances answer over the overlay: a tunnel takes a moment to be there, and
// the first requests to these instances would fail.
func (n *Node) awaitOverlay(ctx context.Context) {
	view := n.snapshots.View()
	var nodes []cloud.NodeName
	for i := range view.Instances.All() {
		if status, ok := view.Instances.NodeStatus(i.Node); ok && status.Alive && i.Node != n.cfg.Name && !slices.Contains(nodes, i.Node) {
			nodes = append(nodes, i.Node)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, overlayTimeout)
	defer cancel()
	for {
		all, changed := n.answering.has(nodes)
		if all {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// tunnelTimeout is how long a worker that joins waits for an answer over the overlay.
const tunnelTimeout = 10 * time.Second

// checkTunnel returns an error if this node is a worker that has just joined, and none of the others answers over the overlay:
// they would never reach it.
func (n *Node) checkTunnel(ctx context.Context) error {
	m := n.member.Load()
	if m == nil || !m.Worker || !n.joined {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tunnelTimeout)
	defer cancel()
	var asked []string
	for {
		asked = asked[:0]
		for other := range n.snapshots.View().State.Nodes() {
			if other.Worker || other.Name == m.Node {
				continue
			}
			answers, _ := n.answering.has([]cloud.NodeName{other.Name})
			if answers {
				return nil
			}
			asked = append(asked, netip.AddrPortFrom(other.Addr.Addr(), other.Overlay.Port).String())
		}
		_, changed := n.answering.has(nil)
		select {
		case <-changed:
		case <-ctx.Done():
			return cloud.Errorf(cloud.Unavailable, "no node of the cloud answers by WireGuard at UDP %s, so that none would reach this worker", strings.Join(asked, ", ")).
				WithHint("let this machine send UDP to these addresses, and the nodes receive it")
		}
	}
}

// setReachable tells the router whether another node's instances can be reached.
func (n *Node) setReachable(node cloud.NodeName, reachable bool) {
	if reachable {
		n.answering.add(node)
	}
	n.compiler.SetReachable(node, reachable)
	if reachable {
		n.log.Info("another node answers", "node", node)
	} else {
		n.log.Warn("a node does not answer: requests go to instances on others", "node", node)
	}
}

// imageClientOf returns a client to fetch images from another node with; nil on a node that is the whole cloud.
func (n *Node) imageClientOf(node cloud.NodeName) *http.Client {
	if m := n.member.Load(); m != nil {
		return m.dialer.Client(cluster.ProtoRegistry, node)
	}
	return nil
}
