package addresses

import (
	"net"
	"net/netip"
	"slices"

	"github.com/protoduction/micro/dnsd"
)

// Networks says who may ask for internal names and under which address of the router they find them:
// this machine, its containers, and the neighbours on each network that an internal listener is on.
func (b *Bound) Networks() []dnsd.Network {
	reach := dnsd.Reach{Subnet: b.subnet, Gateway: b.gateway, Own: OfMachine()}
	for i, a := range slices.Concat(b.Internal, b.Secure) {
		ip := a.Addr()
		// On loopback names lead to where HTTP is answered.
		if !slices.Contains(reach.Listeners, ip) && (i < len(b.Internal) || !ip.IsLoopback()) {
			reach.Listeners = append(reach.Listeners, ip)
		}
		if prefix, ok := prefixOf(ip); ok && !ip.IsLoopback() && ip != b.gateway && !slices.Contains(reach.Local, prefix) {
			reach.Local = append(reach.Local, prefix)
		}
	}
	return reach.Networks()
}

// OfMachine returns all addresses of this machine.
func OfMachine() (own []netip.Addr) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().Unmap())
		}
	}
	return own
}

// IsLocal says whether a peer may use internal names: it is this machine, a container, or a neighbour on the
// network of an internal listener.
func (b *Bound) IsLocal(peer netip.Addr) bool {
	peer = peer.Unmap()
	return peer.IsLoopback() || slices.ContainsFunc(b.neighbours, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// prefixOf returns the network that an address of this machine is in.
func prefixOf(ip netip.Addr) (netip.Prefix, bool) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, false
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == ip {
			return p.Masked(), true
		}
	}
	return netip.Prefix{}, false
}
