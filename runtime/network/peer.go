package network

import (
	"fmt"
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
}

// Peers returns the nodes that are reached over a node's overlay, by name, and the reasons why others are not. It
// decides by nothing but the state: a node that is down stays a peer, because it may be back at any moment.
func Peers(s *cloud.State, self cloud.NodeName) (peers []Peer, unreachable []error) {
	own, ok := s.Node(self)
	if !ok || !own.Subnet.IsValid() {
		return nil, nil
	}
	for n := range s.Nodes() {
		if n.Name == self {
			continue
		}
		p := Peer{Node: n.Name, Addr: n.Addr.Addr().Unmap(), Subnet: n.Subnet, Overlay: n.Overlay}
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
