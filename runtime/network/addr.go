package network

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// routeProtocol marks the routes that are ours (rtm_protocol; values above 4 are free to use).
const routeProtocol = 109

func gateway(p netip.Prefix) netip.Addr { return p.Masked().Addr().Next() }

// last returns the subnet's highest address. It is not assigned, because some programs treat it as a broadcast address.
func last(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	v := binary.BigEndian.Uint32(a[:]) | (1<<(32-p.Bits()) - 1)
	binary.BigEndian.PutUint32(a[:], v)
	return netip.AddrFrom4(a)
}

// nextFree returns the first unused address after a given one, and continues at the subnet's beginning.
func nextFree(p netip.Prefix, after netip.Addr, used map[netip.Addr]bool) (netip.Addr, bool) {
	first, end := gateway(p).Next(), last(p)
	ip := after.Next()
	for range 1 << (32 - p.Bits()) {
		if !ip.IsValid() || !ip.Less(end) || ip.Less(first) {
			ip = first
		}
		if !used[ip] {
			return ip, true
		}
		ip = ip.Next()
	}
	return netip.Addr{}, false
}

// randomAddr returns the address after which assignment starts. It is random, so that addresses are not reused soon
// after a restart.
func randomAddr(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	v := binary.BigEndian.Uint32(a[:]) + rand.Uint32N(1<<(32-p.Bits()))
	binary.BigEndian.PutUint32(a[:], v)
	return netip.AddrFrom4(a)
}

// chooseSubnet checks that the configured subnet is free on the host, or finds a free one if none is configured.
func (n *Network) chooseSubnet(want netip.Prefix) (netip.Prefix, error) {
	if p, ok := n.current(); ok && n.cfg.Leaving {
		return p, nil
	}
	if want.IsValid() {
		if !want.Addr().Is4() || want.Bits() > 29 || want.Bits() < 8 || want.Masked() != want {
			return want, cloud.Errorf(cloud.Invalid, "subnet %s must be an IPv4 network of /8 to /29, such as 10.88.0.0/20", want)
		}
		taken, err := n.collision(want)
		if err != nil {
			return want, err
		}
		if taken != "" && !n.cfg.Leaving {
			return want, cloud.Errorf(cloud.Conflict, "subnet %s collides with %s of this machine", want, taken).
				WithHint("micro up --subnet with a network that is not in use, such as %s", n.suggest())
		}
		return want, nil
	}
	if p := n.suggest(); p.IsValid() {
		return p, nil
	}
	return want, cloud.Errorf(cloud.Conflict, "no free /20 in 10.88.0.0/16, 10.188.0.0/16 and 172.28.0.0/14").
		WithCommand("micro up --subnet CIDR")
}

// suggest returns the subnet that this node already uses, or else the first free one.
func (n *Network) suggest() netip.Prefix {
	if p, ok := n.current(); ok {
		return p
	}
	for _, pool := range []string{"10.88.0.0/16", "10.188.0.0/16", "172.28.0.0/14"} {
		p := netip.MustParsePrefix(pool)
		for a := p.Addr(); p.Contains(a); {
			sub := netip.PrefixFrom(a, 20)
			if taken, err := n.collision(sub); err == nil && taken == "" {
				return sub
			}
			if a = last(sub).Next(); !a.IsValid() {
				break
			}
		}
	}
	return netip.Prefix{}
}

// collision describes the first address or route of the host that overlaps the subnet and isn't ours; "" for none.
func (n *Network) collision(p netip.Prefix) (string, error) {
	addrs, err := netlink.AddrList(nil, unix.AF_INET)
	if err != nil {
		return "", fmt.Errorf("network: list addresses: %w", err)
	}
	for _, a := range addrs {
		if q, ok := prefixOf(a.IPNet); ok && q.Overlaps(p) && a.Label != n.gatewayLabel() {
			return fmt.Sprintf("the address %s (%s)", a.IPNet, a.Label), nil
		}
	}
	routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return "", fmt.Errorf("network: list routes: %w", err)
	}
	gateways := map[netip.Prefix]bool{} // this node's subnet, if it already runs
	if cur, ok := n.current(); ok {
		gateways[cur] = true
	}
	for _, r := range routes {
		q, ok := prefixOf(r.Dst)
		if !ok || q.Bits() == 0 || !q.Overlaps(p) {
			continue
		}
		mine := r.Protocol == routeProtocol && (gateways[q] || n.isOurs(r.LinkIndex))
		if !mine && !vanished(r) {
			return fmt.Sprintf("the route to %s (%s)", q, deviceName(r)), nil
		}
	}
	return "", nil
}

// vanished reports whether a route's link has been deleted since the route was listed, and with it the route. The
// kernel deletes the links of an ended network namespace with a delay.
func vanished(r netlink.Route) bool {
	_, err := netlink.LinkByIndex(r.LinkIndex)
	return r.LinkIndex != 0 && err != nil && ignoreMissing(err) == nil
}

func deviceName(r netlink.Route) string {
	if r.Type == unix.RTN_UNREACHABLE {
		return "another micro's"
	}
	if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
		return "dev " + l.Attrs().Name
	}
	return r.Gw.String()
}
