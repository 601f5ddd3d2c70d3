package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

type endpoint struct {
	Endpoint
	link string // the veth's name on the host

	// Guarded by Network.mu.
	ruled  bool // its elements are in the table
	joined bool // it is complete, and Run must repair it
}

// hostMAC is the MAC address of every host end. It need not be unique, because each link has only two ends.
var hostMAC = net.HardwareAddr{0x02, 0xfe, 0, 0, 0, 1}

// containerMAC returns the MAC address of the container's end: locally administered, and derived from its IP address.
func containerMAC(ip netip.Addr) net.HardwareAddr {
	a := ip.As4()
	return net.HardwareAddr{0x02, 0xfd, a[0], a[1], a[2], a[3]}
}

// join connects the pinned network namespace: it adds the rules, then the link, and then sets the link up.
func (n *Network) join(ep *endpoint) error {
	n.mu.Lock()
	if n.endpoints[ep.ID] == ep && !ep.ruled {
		if err := n.addElements(ep); err != nil {
			n.mu.Unlock()
			return err
		}
		ep.ruled = true
	}
	n.mu.Unlock()
	return n.connect(ep)
}

func (n *Network) connect(ep *endpoint) error {
	ns, err := netns.GetFromPath(ep.NetNS)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	defer inside.Close()

	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.MTU = ep.link, hostMAC, n.mtu
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: "eth0", PeerMTU: uint32(n.mtu), PeerHardwareAddr: containerMAC(ep.IP), PeerNamespace: netlink.NsFd(ns),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth %s: %w", ep.link, err)
	}
	host, err := netlink.LinkByName(ep.link)
	if err != nil {
		return fmt.Errorf("veth %s: %w", ep.link, err)
	}
	if err := insideUp(inside, n.Gateway(), ep.IP); err != nil {
		return err
	}
	noIPv6(ep.link)
	if err := netlink.LinkSetUp(host); err != nil {
		return fmt.Errorf("veth %s up: %w", ep.link, err)
	}
	index := host.Attrs().Index
	err = netlink.RouteReplace(&netlink.Route{
		LinkIndex: index, Dst: ipNet(netip.PrefixFrom(ep.IP, 32)), Scope: netlink.SCOPE_LINK,
		Src: n.Gateway().AsSlice(), Protocol: routeProtocol,
	})
	if err != nil {
		return fmt.Errorf("route %s dev %s: %w", ep.IP, ep.link, err)
	}
	// Permanent neighbour entries, so that there is no ARP to wait for and none to be forged.
	err = netlink.NeighSet(&netlink.Neigh{LinkIndex: index, IP: ep.IP.AsSlice(), HardwareAddr: containerMAC(ep.IP), State: netlink.NUD_PERMANENT})
	if err != nil {
		return fmt.Errorf("neighbour %s dev %s: %w", ep.IP, ep.link, err)
	}
	if err := awaitUp(netlink.LinkByName, ep.link); err != nil {
		return err
	}
	return awaitUp(inside.LinkByName, "eth0")
}

// awaitUp waits until a link is operational. Until then the kernel drops packets, for example a first SYN, which is
// only repeated after a second.
func awaitUp(find func(string) (netlink.Link, error), name string) error {
	for begin := time.Now(); ; time.Sleep(100 * time.Microsecond) { //nolint:forbidigo // polling takes less time than subscribing
		l, err := find(name)
		if err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		if l.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Since(begin) > 2*time.Second {
			return fmt.Errorf("link %s does not come up: its state is %s", name, l.Attrs().OperState)
		}
	}
}

// insideUp configures a container's side: lo, eth0 with its address, and the default route.
func insideUp(h *netlink.Handle, gw, ip netip.Addr) error {
	lo, err := h.LinkByIndex(loopbackIndex)
	if err == nil {
		err = h.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("loopback inside: %w", err)
	}
	eth, err := h.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("eth0 inside: %w", err)
	}
	index := eth.Attrs().Index
	if err := h.AddrReplace(eth, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(ip, 32))}); err != nil {
		return fmt.Errorf("address %s inside: %w", ip, err)
	}
	if err := h.LinkSetUp(eth); err != nil {
		return fmt.Errorf("eth0 up inside: %w", err)
	}
	if err := h.NeighSet(&netlink.Neigh{LinkIndex: index, IP: gw.AsSlice(), HardwareAddr: hostMAC, State: netlink.NUD_PERMANENT}); err != nil {
		return fmt.Errorf("neighbour %s inside: %w", gw, err)
	}
	if err := h.RouteReplace(&netlink.Route{LinkIndex: index, Gw: gw.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}); err != nil {
		return fmt.Errorf("default route inside: %w", err)
	}
	return nil
}

// noIPv6 disables IPv6 on the host's end of a link. It ignores errors: a kernel without IPv6 has no such file, and the
// table drops IPv6 packets from containers anyway.
func noIPv6(link string) {
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+link+"/disable_ipv6", []byte("1"), 0o644)
}

func (ep *endpoint) unlink() error {
	l, err := netlink.LinkByName(ep.link)
	if err != nil {
		return ignoreMissing(err)
	}
	return delLink(l)
}

func delLink(l netlink.Link) error {
	if err := ignoreMissing(netlink.LinkDel(l)); err != nil {
		return fmt.Errorf("delete link %s: %w", l.Attrs().Name, err)
	}
	return nil
}

// links returns all links of this node.
func (n *Network) links() ([]netlink.Link, error) {
	all, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("network: list links: %w", err)
	}
	var mine []netlink.Link
	for _, l := range all {
		if strings.HasPrefix(l.Attrs().Name, n.prefix) {
			mine = append(mine, l)
		}
	}
	return mine, nil
}

// isOurs reports whether a link belongs to this node.
func (n *Network) isOurs(index int) bool {
	l, err := netlink.LinkByIndex(index)
	return err == nil && strings.HasPrefix(l.Attrs().Name, n.prefix)
}
