package network

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// CheckOutside returns an error that says what an address is unless it is outside of this machine: a request that
// somebody else may direct has no business with the machine's own services, its containers, or a cloud's metadata.
// It is for what the node itself fetches; what containers and builds send goes through the rules of the firewall.
func CheckOutside(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid() || addr.IsUnspecified(), addr.IsLoopback():
		return fmt.Errorf("%s is this machine itself", addr)
	case addr.IsLinkLocalUnicast(), addr.Is4() && slices.Contains(metadata, addr.As4()):
		return fmt.Errorf("%s is of a link or a cloud's metadata service", addr)
	case addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%s is not one machine's", addr)
	}
	routes, err := netlink.RouteGet(net.IP(addr.AsSlice()))
	if err != nil {
		return nil // no way there: the connection will say so
	}
	if match, err := netlink.RouteGetWithOptions(net.IP(addr.AsSlice()), &netlink.RouteGetOptions{FIBMatch: true}); err == nil {
		for _, r := range match {
			if r.Protocol == routeProtocol {
				return fmt.Errorf("%s is a container of this or another node", addr)
			}
		}
	}
	for _, r := range routes {
		if r.Type == unix.RTN_LOCAL || r.Type == unix.RTN_BROADCAST {
			return fmt.Errorf("%s is this machine itself", addr)
		}
		// A container is at the other end of a link of ours, whichever node of this machine it belongs to.
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err == nil && link.Type() == "veth" && linkName.MatchString(link.Attrs().Name) {
			return fmt.Errorf("%s is a container", addr)
		}
	}
	return nil
}

// linkName is what the host's ends of all nodes' links are called, see Network.link.
var linkName = regexp.MustCompile(`^m[0-9a-z]{13}$`)
