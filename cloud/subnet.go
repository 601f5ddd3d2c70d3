package cloud

import (
	"encoding/binary"
	"net/netip"
)

const (
	// subnetBits is the size of a cloud's subnet by default: a /16, which has 64 slices of the default size.
	subnetBits = 16
	// sliceBits is the size of a node's slice: a /22, which has 1,021 addresses for instances. A small cloud's
	// subnet has at least 16 slices, which are smaller then.
	sliceBits = 22
)

// Subnet returns the network that has the slices of all nodes: the setting, or else the /16 around the slice of the
// first node. The slice that a node had before others joined stays as it is, whatever its size.
func (s *State) Subnet() netip.Prefix {
	if set := s.Settings().Subnet; set.IsValid() {
		return set
	}
	for n := range s.Nodes() {
		if n.Subnet.IsValid() {
			return netip.PrefixFrom(n.Subnet.Addr(), min(subnetBits, n.Subnet.Bits())).Masked()
		}
	}
	return netip.Prefix{}
}

// FreeSlice returns the lowest slice of the cloud's subnet that no node has and that overlaps none of avoid, which are
// the networks that the joining machine already uses.
func (s *State) FreeSlice(avoid ...netip.Prefix) (netip.Prefix, error) {
	subnet := s.Subnet()
	if !subnet.IsValid() {
		return subnet, Errorf(Unavailable, "the cloud has no subnet yet: none of its nodes has started its network")
	}
	nodes := 0
	for n := range s.Nodes() {
		if n.Subnet.IsValid() {
			avoid = append(avoid, n.Subnet)
			nodes++
		}
	}
	bits := min(29, max(sliceBits, subnet.Bits()+4))
	for a := subnet.Addr(); subnet.Contains(a); {
		slice := netip.PrefixFrom(a, bits)
		end := lastAddr(slice)
		free := true
		for _, p := range avoid {
			if p.Overlaps(slice) {
				free = false
				if e := lastAddr(p.Masked()); p.Addr().Is4() && end.Less(e) {
					end = e // the slices up to there overlap it too
				}
			}
		}
		if free {
			return slice, nil
		}
		if a = end.Next(); !a.IsValid() {
			break
		}
		a = netip.PrefixFrom(a, bits).Masked().Addr()
	}
	return netip.Prefix{}, Errorf(Unavailable, "subnet %s has no free /%d for another node: %d nodes and networks of the new machine use it", subnet, bits, nodes).
		WithHint("remove a node, or the new machine's networks in %s", subnet)
}

// lastAddr returns the highest address of an IPv4 network.
func lastAddr(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() {
		return p.Addr()
	}
	a := p.Addr().As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])|(1<<(32-p.Bits())-1))
	return netip.AddrFrom4(a)
}

// checkSubnet reports why a network can't be the cloud's subnet.
func (s *State) checkSubnet(p netip.Prefix) error {
	if !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 24 || p.Masked() != p {
		return Errorf(Invalid, "subnet %s must be an IPv4 network of /8 to /24, such as 10.88.0.0/16", p)
	}
	for n := range s.Nodes() {
		if n.Subnet.IsValid() && (!p.Contains(n.Subnet.Addr()) || p.Bits() > n.Subnet.Bits()) {
			return Errorf(Conflict, "subnet %s must contain %s, which is that of node %s", p, n.Subnet, n.Name)
		}
	}
	return nil
}
