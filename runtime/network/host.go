package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const loopbackIndex = 1

// gatewayLabel is the label by which the kernel stores that an address on lo is this node's gateway.
func (n *Network) gatewayLabel() string { return gatewayLabel(n.hash()) }

func gatewayLabel(hash string) string { return "lo:" + linkPrefix(hash) }

// current returns the subnet for which the host is set up. There is one after a restart of micro.
func (n *Network) current() (netip.Prefix, bool) {
	addrs, err := netlink.AddrList(nil, unix.AF_INET)
	if err != nil {
		return netip.Prefix{}, false
	}
	for _, a := range addrs {
		if a.Label != n.gatewayLabel() {
			continue
		}
		gw, ok := netip.AddrFromSlice(a.IP.To4())
		routes, err := netlink.RouteListFiltered(unix.AF_INET,
			&netlink.Route{Type: unix.RTN_UNREACHABLE, Protocol: routeProtocol}, netlink.RT_FILTER_TYPE|netlink.RT_FILTER_PROTOCOL)
		if err != nil || !ok {
			return netip.Prefix{}, false
		}
		for _, r := range routes {
			if p, ok := prefixOf(r.Dst); ok && gateway(p) == gw {
				return p, true
			}
		}
	}
	return netip.Prefix{}, false
}

func (n *Network) prepareHost() error {
	// Remove the old gateway if the node was restarted with another subnet.
	if old, ok := n.current(); ok && old != n.subnet {
		if err := n.restoreHost(); err != nil {
			return err
		}
	}
	lo, err := netlink.LinkByIndex(loopbackIndex)
	if err != nil {
		return fmt.Errorf("network: loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("network: loopback up: %w", err)
	}
	if err := netlink.AddrReplace(lo, n.gatewayAddr()); err != nil {
		return fmt.Errorf("network: gateway %s on lo: %w", n.Gateway(), err)
	}
	if err := netlink.RouteReplace(n.unreachable()); err != nil {
		return fmt.Errorf("network: route %s: %w", n.subnet, err)
	}
	if err := n.removeAbandoned(); err != nil {
		return err
	}
	n.mtu = uplinkMTU()
	return n.enableForwarding()
}

func (n *Network) restoreHost() error {
	var errs []error
	addrs, err := netlink.AddrList(nil, unix.AF_INET)
	errs = append(errs, err)
	for _, a := range addrs {
		if a.Label != n.gatewayLabel() {
			continue
		}
		if p, ok := n.current(); ok {
			r := n.unreachable()
			r.Dst = ipNet(p)
			errs = append(errs, ignoreMissing(netlink.RouteDel(r)))
		}
		lo, err := netlink.LinkByIndex(loopbackIndex)
		if err == nil {
			err = ignoreMissing(netlink.AddrDel(lo, &a))
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, n.restoreForwarding())...)
}

func (n *Network) gatewayAddr() *netlink.Addr {
	return &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(n.Gateway(), 32)), Label: n.gatewayLabel()}
}

// unreachable returns the route that makes packets to unassigned addresses fail at once, instead of being sent to the
// host's default gateway.
func (n *Network) unreachable() *netlink.Route {
	return &netlink.Route{Dst: ipNet(n.subnet), Type: unix.RTN_UNREACHABLE, Protocol: routeProtocol}
}

// uplinkMTU returns the smallest MTU of the host's default routes, which containers must use.
func uplinkMTU() int {
	mtu := 1500
	routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
	if err != nil {
		return mtu
	}
	for _, r := range routes {
		if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil && l.Attrs().MTU >= 576 {
			mtu = min(mtu, l.Attrs().MTU)
		}
	}
	return mtu
}

const forwardFile = "/proc/sys/net/ipv4/ip_forward"

// forwardBackup returns the file with the value that ip_forward had before the first micro of this boot and network
// namespace changed it.
func forwardBackup() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return "", err
	}
	return fmt.Sprintf("/run/micro/ip_forward.%.8s.%d", boot, st.Ino), nil
}

func (n *Network) enableForwarding() error {
	old, err := os.ReadFile(forwardFile)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if strings.TrimSpace(string(old)) == "1" {
		return nil
	}
	file, err := forwardBackup()
	if err == nil {
		err = os.MkdirAll("/run/micro", 0o711)
	}
	if err == nil {
		err = os.WriteFile(file, old, 0o600)
	}
	if err == nil {
		err = os.WriteFile(forwardFile, []byte("1"), 0o644)
	}
	if err != nil {
		return fmt.Errorf("network: enable IP forwarding: %w", err)
	}
	return nil
}

func (n *Network) restoreForwarding() error {
	others, err := otherTables(n.table)
	if err != nil || others {
		return err
	}
	file, err := forwardBackup()
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	old, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(forwardFile, old, 0o644)
	}
	if err == nil {
		err = os.Remove(file)
	}
	if err != nil {
		return fmt.Errorf("network: restore IP forwarding: %w", err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones).Masked(), ok
}

// ignoreMissing returns nil if the error means that an object does not exist, otherwise the error.
func ignoreMissing(err error) error {
	for _, e := range []error{unix.ENOENT, unix.ESRCH, unix.ENODEV, unix.EADDRNOTAVAIL, os.ErrNotExist} {
		if errors.Is(err, e) {
			return nil
		}
	}
	if _, ok := errors.AsType[netlink.LinkNotFoundError](err); ok {
		return nil
	}
	return err
}
