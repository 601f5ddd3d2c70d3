package addresses

import (
	"net"
	"net/netip"
	"slices"

	"github.com/protoduction/micro/dnsd"
)

// Networks returns which clients may ask for internal names, and the router's address for each: this machine, its
// containers, and the networks of the internal listeners.
func (b *Bound) Networks() []dnsd.Network {
	reach := dnsd.Reach{Subnet: b.subnet, Gateway: b.gateway, Own: MachineAddrs()}
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
	networks := reach.Networks()
	for i, n := range networks {
		for _, a := range b.Secure {
			if a.Addr() == n.A || !n.A.IsValid() && a.Addr() == n.AAAA {
				networks[i].HTTPS, networks[i].HTTP3 = a.Port(), b.answersHTTP3(a)
				break
			}
		}
	}
	return networks
}

// Routers returns the addresses at which other machines reach internal hosts by their names alone, without a port.
func (b *Bound) Routers() (list []netip.Addr) {
	for i, a := range slices.Concat(b.Internal, b.Secure) {
		usual := a.Port() == 80 || i >= len(b.Internal) && a.Port() == 443
		if ip := a.Addr(); usual && ip != b.gateway && !ip.IsLoopback() && !ip.IsUnspecified() && !slices.Contains(list, ip) {
			list = append(list, ip)
		}
	}
	return list
}

// MachineAddrs returns all addresses of this machine.
func MachineAddrs() (own []netip.Addr) {
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

// IsLocal reports whether a peer may use internal names: it is this machine, a container, or in the network of an
// internal listener.
func (b *Bound) IsLocal(peer netip.Addr) bool {
	peer = peer.Unmap()
	return peer.IsLoopback() || slices.ContainsFunc(b.neighbours, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// prefixOf returns the network of one of this machine's addresses.
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
