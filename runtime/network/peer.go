package network

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	"github.com/protoduction/micro/cloud"
)

// Peer is another node, whose instances this node reaches over the overlay.
type Peer struct {
	Node   cloud.NodeName
	Addr   netip.Addr   // of the node itself
	Subnet netip.Prefix // its slice
	cloud.Overlay
	// Worker says that the peer begins each session, because no other node can.
	Worker bool
	// Begins says that this node begins each session with the peer, because it is a worker itself.
	Begins bool
	// Relay is the node by which packets go to the peer and come from it; "" for none. Both it and this node are workers.
	Relay cloud.NodeName
}

// Peers returns the nodes that are reached over a node's overlay, by name, and the reasons why others are not. A node that is
// down stays a peer, because it may be back at any moment; only the relay between two workers is chosen among living nodes.
func Peers(v cloud.View, self cloud.NodeName) (peers []Peer, unreachable []error) {
	own, ok := v.State.Node(self)
	if !ok || !own.Subnet.IsValid() {
		return nil, nil
	}
	for n := range v.State.Nodes() {
		if n.Name == self {
			continue
		}
		p := Peer{Node: n.Name, Addr: n.Addr.Addr().Unmap(), Subnet: n.Subnet, Overlay: n.Overlay, Worker: n.Worker, Begins: own.Worker && !n.Worker}
		if own.Worker && n.Worker {
			p.Relay = relayOf(v, own, n)
		}
		if err := p.check(own, peers); err != nil {
			unreachable = append(unreachable, fmt.Errorf("instances on node %s can't be reached: %w", n.Name, err))
			continue
		}
		peers = append(peers, p)
	}
	return peers, unreachable
}

// check reports why a node can't be a peer of own.
func (p Peer) check(own *cloud.Node, others []Peer) error {
	switch {
	case !p.Subnet.IsValid() || !p.Addr.IsValid():
		return fmt.Errorf("it has not started its network yet")
	case p.Subnet.Overlaps(own.Subnet):
		return fmt.Errorf("its subnet %s overlaps that of this node", p.Subnet)
	case p.Mode != own.Overlay.Mode:
		return fmt.Errorf("its overlay is %s, and that of this node is %s: start all nodes with the same --overlay", p.Mode, own.Overlay.Mode)
	case own.Worker && p.Worker && p.Relay == "":
		return fmt.Errorf("it is a worker like this node, and no other node passes packets on between them")
	case p.Mode == cloud.OverlayDirect && !p.Addr.Is4():
		return fmt.Errorf("direct routes need IPv4, and its address is %s", p.Addr)
	}
	if k := slices.IndexFunc(others, func(o Peer) bool { return o.Subnet.Overlaps(p.Subnet) }); k >= 0 {
		return fmt.Errorf("its subnet %s overlaps that of node %s", p.Subnet, others[k].Node)
	}
	if p.Mode == cloud.OverlayWireGuard {
		_, err := parseKey(p.Key)
		return err
	}
	return nil
}

// relayOf returns the node that passes packets on between two workers, "" for none. Both workers must choose the same one,
// because each accepts packets of the other from nobody else: the choice depends only on what all nodes see. It spreads pairs
// of workers over the nodes, and moves only those of a node that dies or comes back.
func relayOf(v cloud.View, a, b *cloud.Node) cloud.NodeName {
	var best cloud.NodeName
	var bestRank uint64
	for n := range v.State.Nodes() {
		status, known := v.Instances.NodeStatus(n.Name)
		if n.Worker || !n.Subnet.IsValid() || n.Overlay.Mode != cloud.OverlayWireGuard || known && !status.Alive {
			continue
		}
		h := fnv.New64a()
		fmt.Fprintf(h, "%s %s %s", min(a.Name, b.Name), max(a.Name, b.Name), n.Name)
		if rank := h.Sum64(); best == "" || rank > bestRank {
			best, bestRank = n.Name, rank
		}
	}
	return best
}
