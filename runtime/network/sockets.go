package network

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const tcpEstablished = 1 // TCP_ESTABLISHED of the kernel

// FromNodes returns how many open connections the routers of other nodes have to the container with an address. It asks
// the kernel, so that nothing has to be counted and sent between nodes.
func (n *Network) FromNodes(ip netip.Addr) (open int, err error) {
	n.mu.Lock()
	gateways := map[netip.Addr]bool{}
	for _, p := range n.peers {
		gateways[gateway(p.Subnet)] = true
	}
	file := ""
	for _, ep := range n.endpoints {
		if ep.IP == ip {
			file = ep.NetNS
		}
	}
	n.mu.Unlock()
	if len(gateways) == 0 || file == "" {
		return 0, nil
	}
	ns, err := netns.GetFromPath(file)
	if err != nil {
		return 0, ignoreMissing(err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_INET_DIAG)
	if err != nil {
		return 0, fmt.Errorf("network: sockets of %s: %w", ip, err)
	}
	defer h.Close()
	// An app that listens on :: has IPv6 sockets for IPv4 too.
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		list, err := h.SocketDiagTCP(family)
		if err != nil {
			return 0, fmt.Errorf("network: sockets of %s: %w", ip, err)
		}
		for _, s := range list {
			if from, ok := netip.AddrFromSlice(s.ID.Destination); ok && s.State == tcpEstablished && gateways[from.Unmap()] {
				open++
			}
		}
	}
	return open, nil
}
