package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// Each peer's slice has two routes: one over the overlay, and one that makes its addresses unreachable while the first
// is missing. Else packets for other nodes' instances would be sent to the host's default gateway.

// fallbackMetric is the metric of this node's unreachable routes, by which they are told from those of other nodes on
// the machine.
func (n *Network) fallbackMetric() int {
	metric := 1 << 30
	for k, c := range []byte(n.prefix) {
		metric ^= int(c) << (5 * k % 24)
	}
	return metric
}

// routeKey is what tells the routes to peers apart.
type routeKey struct {
	dst  netip.Prefix
	link int
	via  netip.Addr
}

// setRoutes makes the routes to other nodes' slices those of the peers, and returns the nodes to which there is none,
// with the reasons. n.mu must be held.
func (n *Network) setRoutes() error {
	have, err := n.peerRoutes()
	if err != nil {
		return err
	}
	own, err := ownAddrs()
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range n.peers {
		if p.Addr.IsLoopback() || own[p.Addr] {
			continue // a node on this machine: its containers' routes are here already
		}
		fallback := &netlink.Route{Dst: ipNet(p.Subnet), Type: unix.RTN_UNREACHABLE, Priority: n.fallbackMetric(), Protocol: routeProtocol}
		wanted := []*netlink.Route{fallback}
		r, err := n.peerRoute(p)
		if err == nil {
			wanted = append(wanted, r)
		}
		errs = append(errs, err)
		for _, r := range wanted {
			key := keyOf(r)
			if _, ok := have[key]; ok {
				delete(have, key)
				continue
			}
			if err := netlink.RouteReplace(r); err != nil {
				errs = append(errs, fmt.Errorf("network: route to %s, the subnet of node %s: %w", p.Subnet, p.Node, err))
			}
		}
	}
	for _, r := range have {
		if err := ignoreMissing(netlink.RouteDel(&r)); err != nil {
			errs = append(errs, fmt.Errorf("network: remove the route to %s: %w", r.Dst, err))
		}
	}
	return errors.Join(errs...)
}

// peerRoute returns the route to a peer's slice. Its source is the gateway, so that the peer knows who sends.
func (n *Network) peerRoute(p Peer) (*netlink.Route, error) {
	r := &netlink.Route{Dst: ipNet(p.Subnet), Src: n.Gateway().AsSlice(), Protocol: routeProtocol}
	if p.Mode == cloud.OverlayWireGuard {
		l, err := netlink.LinkByName(n.tunnelName())
		if err != nil {
			return nil, fmt.Errorf("network: WireGuard's interface: %w", err)
		}
		r.LinkIndex, r.Scope = l.Attrs().Index, netlink.SCOPE_LINK
		return r, nil
	}
	ways, err := netlink.RouteGet(net.IP(p.Addr.AsSlice()))
	if err != nil || len(ways) == 0 {
		return nil, fmt.Errorf("network: no way to node %s at %s: %w", p.Node, p.Addr, err)
	}
	if ways[0].Gw != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "node %s at %s is behind the router %s: direct routes lead only to nodes on a network of this machine", p.Node, p.Addr, ways[0].Gw).
			WithHint("start all nodes with --overlay wireguard")
	}
	r.LinkIndex, r.Gw = ways[0].LinkIndex, p.Addr.AsSlice()
	return r, nil
}

func keyOf(r *netlink.Route) routeKey {
	dst, _ := prefixOf(r.Dst)
	via, _ := netip.AddrFromSlice(r.Gw)
	key := routeKey{dst, r.LinkIndex, via.Unmap()}
	if r.Type == unix.RTN_UNREACHABLE {
		key.link = 0 // the kernel says lo
	}
	return key
}

// peerRoutes returns this node's routes to other nodes' slices.
func (n *Network) peerRoutes() (map[routeKey]netlink.Route, error) {
	all, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, fmt.Errorf("network: list routes: %w", err)
	}
	routes := map[routeKey]netlink.Route{}
	for _, r := range all {
		switch dst, _ := prefixOf(r.Dst); {
		case r.Type == unix.RTN_UNREACHABLE && r.Priority != n.fallbackMetric():
		case r.Type != unix.RTN_UNREACHABLE && (!r.Src.Equal(n.Gateway().AsSlice()) || n.subnet.Contains(dst.Addr())):
		default:
			routes[keyOf(&r)] = r
		}
	}
	return routes, nil
}

// ownAddrs returns the addresses of this machine.
func ownAddrs() (map[netip.Addr]bool, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("network: list addresses: %w", err)
	}
	own := make(map[netip.Addr]bool, len(list))
	for _, x := range list {
		if a, ok := netip.AddrFromSlice(x.IP); ok {
			own[a.Unmap()] = true
		}
	}
	return own, nil
}

func (n *Network) tunnelName() string { return "wg-" + n.hash()[:8] }
