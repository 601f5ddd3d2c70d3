package node

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
)

// networks says who may ask for internal names and under which address of the router they find them:
// this machine, its containers, and the neighbours on each network that an internal listener is on.
func (n *Node) networks() []dnsd.Network {
	reach := dnsd.Reach{Subnet: n.net.Subnet(), Gateway: n.net.Gateway(), Own: ownAddrs()}
	for _, a := range n.internal {
		reach.Listeners = append(reach.Listeners, a.Addr())
		if prefix, ok := prefixOf(a.Addr()); ok && !a.Addr().IsLoopback() && a.Addr() != n.net.Gateway() {
			reach.Local = append(reach.Local, prefix)
		}
	}
	return reach.Networks()
}

// GroupOf implements dnsd.Groups: of instances, and of containers for one command, which no view shows.
func (n *Node) GroupOf(client netip.Addr) string {
	tenant, ok := n.net.Tenant(client)
	if !ok {
		return ""
	}
	for g := range n.snapshots.View().State.Groups() {
		if g.Number == tenant {
			return string(g.Name)
		}
	}
	return ""
}

// ownAddrs are all addresses of this machine.
func ownAddrs() (own []netip.Addr) {
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

// isLocal says whether a peer may use internal names: it is this machine, a container, or a neighbour
// on the network of an internal listener.
func (n *Node) isLocal(peer netip.Addr) bool {
	peer = peer.Unmap()
	return peer.IsLoopback() || slices.ContainsFunc(n.neighbours, func(p netip.Prefix) bool { return p.Contains(peer) })
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

// URLs are what opens a host, the one that needs no set-up first: names under localhost lead to this
// machine whatever its resolver knows (RFC 6761, section 6.3).
func (n *Node) URLs(h cloud.Host) []string {
	addrs := n.internal
	if len(addrs) == 0 {
		return nil
	}
	port := ""
	if p := addrs[0].Port(); p != 80 {
		port = fmt.Sprintf(":%d", p)
	}
	var urls []string
	if name, ok := strings.CutSuffix(string(h), "."+string(n.cfg.Domain)); ok && addrs[0].Addr().IsLoopback() {
		urls = append(urls, "http://"+name+".localhost"+port)
	}
	return append(urls, "http://"+string(h)+port)
}
