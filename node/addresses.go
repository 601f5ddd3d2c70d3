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
	list := []dnsd.Network{
		{Prefix: n.net.Subnet(), Class: dnsd.Container, A: n.net.Gateway()},
	}
	local := dnsd.Network{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Class: dnsd.Loopback}
	local6 := dnsd.Network{Prefix: netip.MustParsePrefix("::1/128"), Class: dnsd.Loopback}
	for _, a := range n.httpAddrs() {
		switch ip := a.Addr(); {
		case ip == n.net.Gateway():
		case ip.IsLoopback() && ip.Is4():
			local.A, local6.A = ip, ip
		case ip.IsLoopback():
			local.AAAA, local6.AAAA = ip, ip
		default:
			if prefix, ok := prefixOf(ip); ok {
				facing := dnsd.Network{Prefix: prefix, Class: dnsd.Local}
				if ip.Is4() {
					facing.A = ip
				} else {
					facing.AAAA = ip
				}
				list = append(list, facing)
			}
			if !local.A.IsValid() && ip.Is4() {
				local.A, local6.A = ip, ip
			}
		}
	}
	return append(list, local, local6)
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

// httpAddrs are the addresses that the router listens on, the one for people first.
func (n *Node) httpAddrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, 0, len(n.http))
	for _, ln := range n.http {
		if a, err := netip.ParseAddrPort(ln.Addr().String()); err == nil {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// URLs are what opens a host, the one that needs no set-up first: names under localhost lead to this
// machine whatever its resolver knows (RFC 6761, section 6.3).
func (n *Node) URLs(h cloud.Host) []string {
	addrs := n.httpAddrs()
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
