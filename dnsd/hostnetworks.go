package dnsd

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostNetworks caches the list of private networks that this machine uses itself. It is refreshed every
// hostNetworksEvery, because a laptop moves and VPNs come and go.
type hostNetworks struct {
	list func() []netip.Prefix // nil: no networks

	mu     sync.Mutex
	known  []netip.Prefix
	listed time.Time
}

const hostNetworksEvery = 5 * time.Second

// contains reports whether an address is in one of the networks.
func (h *hostNetworks) contains(addr netip.Addr) bool {
	return slices.ContainsFunc(h.all(), func(n netip.Prefix) bool { return n.Contains(addr) })
}

func (h *hostNetworks) all() []netip.Prefix {
	if h == nil || h.list == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); now.Sub(h.listed) >= hostNetworksEvery {
		h.known, h.listed = h.list(), now
	}
	return h.known
}

// siteLocalNetworks are the ranges that organisations and homes use inside. Loopback and link-local
// addresses mean something different on each machine, so they never count as a host's networks.
var siteLocalNetworks = parsePrefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")

// HostNetworks returns the private networks to which this machine has a route other than the default route:
// the networks of its interfaces and those behind a gateway or a tunnel.
func HostNetworks() []netip.Prefix {
	var all []netip.Prefix
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		// All tables: VPN tunnels often have routing tables of their own.
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil {
			continue // IPv6 may be off
		}
		for _, r := range routes {
			if r.Dst == nil || r.Type != unix.RTN_UNICAST {
				continue
			}
			addr, ok := netip.AddrFromSlice(r.Dst.IP)
			bits, _ := r.Dst.Mask.Size()
			n := netip.PrefixFrom(addr.Unmap(), bits)
			if ok && n.IsValid() && within(n, siteLocalNetworks) && !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	return all
}

// within reports whether a network is equal to or part of one of the others.
func within(n netip.Prefix, others []netip.Prefix) bool {
	return slices.ContainsFunc(others, func(o netip.Prefix) bool { return o.Bits() <= n.Bits() && o.Contains(n.Addr()) })
}
