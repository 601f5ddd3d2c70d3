package dnsd

import (
	"net/netip"
	"slices"
)

// Reach is what the views of a node's clients follow from.
type Reach struct {
	Listeners []netip.Addr   // where the internal listeners are bound; a wildcard is at every address
	Subnet    netip.Prefix   // of the containers
	Gateway   netip.Addr     // the node as containers see it; the zero Addr where there is no listener
	Own       []netip.Addr   // all addresses of this machine: who comes from one is on it
	Local     []netip.Prefix // networks that are served beside these
}

// Networks says how each kind of client reaches the internal listener: this machine by loopback,
// containers by the gateway, a local network by the listener's address in it. Where none faces a client,
// any that is not loopback has to do, and without such a one names have no address there.
func (r Reach) Networks() []Network {
	v4, v6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	here := Network{Class: Loopback, A: r.loopback(v4), AAAA: r.loopback(v6)}
	if !here.A.IsValid() && !here.AAAA.IsValid() {
		here.A, here.AAAA = r.facing(netip.Prefix{}, true), r.facing(netip.Prefix{}, false)
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
		add(Network{Class: Local, A: r.facing(p, true), AAAA: r.facing(p, false)}, p)
	}
	return all
}

// loopback returns an address if a listener is bound there, else another loopback address of its family
// that has one: every address below 127.0.0.0/8 is this machine's.
func (r Reach) loopback(a netip.Addr) netip.Addr {
	if r.at(a).IsValid() {
		return a
	}
	if i := slices.IndexFunc(r.Listeners, func(l netip.Addr) bool { return l.IsLoopback() && l.Is4() == a.Is4() }); i >= 0 {
		return r.Listeners[i]
	}
	return netip.Addr{}
}

// at returns an address if a listener is bound there.
func (r Reach) at(a netip.Addr) netip.Addr {
	for _, l := range r.Listeners {
		if l == a || l.IsUnspecified() && (l.Is4() == a.Is4() || l.Is6()) {
			return a
		}
	}
	return netip.Addr{}
}

// facing returns a listener's address of one family: one in the network, else any that others can reach.
func (r Reach) facing(p netip.Prefix, v4 bool) netip.Addr {
	var bound []netip.Addr
	for _, a := range append(slices.Clone(r.Own), r.Listeners...) {
		a = a.Unmap().WithZone("")
		if a.Is4() == v4 && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsUnspecified() && a != r.Gateway && r.at(a).IsValid() {
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
