package dnsd

import (
	"net/netip"
	"slices"
)

// Reach describes a node's addresses and networks, from which the views of its clients are computed.
type Reach struct {
	Listeners []netip.Addr   // where the internal listeners are bound; a wildcard means every address
	Subnet    netip.Prefix   // of the containers
	Gateway   netip.Addr     // the node's address for containers; the zero Addr if no listener is bound there
	Own       []netip.Addr   // all addresses of this machine, by which its own queries are recognised
	Local     []netip.Prefix // further networks to serve
}

// Networks returns how each kind of client reaches the internal listener: this machine by loopback,
// containers by the gateway, a local network by the listener's address in that network. Without a listener
// in the client's network, it returns any listener that is not loopback; without such a listener, names have
// no address for that client.
func (r Reach) Networks() []Network {
	v4, v6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	here := Network{Class: Loopback, A: r.loopbackListener(v4), AAAA: r.loopbackListener(v6)}
	if !here.A.IsValid() && !here.AAAA.IsValid() {
		here.A, here.AAAA = r.listenerFor(netip.Prefix{}, true), r.listenerFor(netip.Prefix{}, false)
	}
	var all []Network
	add := func(n Network, p netip.Prefix) {
		n.Prefix = p
		all = append(all, n)
	}
	add(here, netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8))
	add(here, netip.PrefixFrom(v6, 128))
	for _, own := range r.Own {
		own = own.Unmap().WithZone("")
		add(here, netip.PrefixFrom(own, own.BitLen()))
	}
	if r.Subnet.IsValid() {
		n := Network{Class: Container}
		if r.Gateway.Is4() {
			n.A = r.Gateway
		} else {
			n.AAAA = r.Gateway
		}
		add(n, r.Subnet)
	}
	for _, p := range r.Local {
		add(Network{Class: Local, A: r.listenerFor(p, true), AAAA: r.listenerFor(p, false)}, p)
	}
	return all
}

// loopbackListener returns an address if a listener is bound there, otherwise another listener's loopback
// address of the same family: all of 127.0.0.0/8 is this machine.
func (r Reach) loopbackListener(a netip.Addr) netip.Addr {
	if r.listenerAt(a).IsValid() {
		return a
	}
	if i := slices.IndexFunc(r.Listeners, func(l netip.Addr) bool { return l.IsLoopback() && l.Is4() == a.Is4() }); i >= 0 {
		return r.Listeners[i]
	}
	return netip.Addr{}
}

// listenerAt returns an address if a listener is bound there, otherwise the zero Addr.
func (r Reach) listenerAt(a netip.Addr) netip.Addr {
	for _, l := range r.Listeners {
		if l == a || l.IsUnspecified() && (l.Is4() == a.Is4() || l.Is6()) {
			return a
		}
	}
	return netip.Addr{}
}

// listenerFor returns a listener's address of one family: in the network, or any that other machines can reach.
func (r Reach) listenerFor(p netip.Prefix, v4 bool) netip.Addr {
	var bound []netip.Addr
	for _, a := range append(slices.Clone(r.Own), r.Listeners...) {
		a = a.Unmap().WithZone("")
		if a.Is4() == v4 && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsUnspecified() && a != r.Gateway && r.listenerAt(a).IsValid() {
			bound = append(bound, a)
		}
	}
	if i := slices.IndexFunc(bound, p.Contains); i >= 0 {
		return bound[i]
	}
	if len(bound) > 0 {
		return bound[0]
	}
	return netip.Addr{}
}
