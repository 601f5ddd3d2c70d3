package network

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// What the node fetches for somebody leads outside of this machine, in whatever way the address is written.
func TestCheckOutside(t *testing.T) {
	n := testNetwork(t, "destination", "10.61.0.0/24")
	container := attach(t, n, "c", 0)
	other := testNetwork(t, "another", "10.62.0.0/24")
	// Another node's instances are containers too.
	slice := &netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.63.0.0/22")), Gw: net.IPv4(192, 0, 2, 1), Protocol: routeProtocol}
	check(t, netlink.RouteAdd(slice))
	defer func() { check(t, netlink.RouteDel(slice)) }()
	for addr, want := range map[string]string{
		"127.0.0.1": "this machine", "127.9.9.9": "this machine", "::1": "this machine", "::ffff:127.0.0.1": "this machine",
		"0.0.0.0": "this machine", "::": "this machine", hostAddr.String(): "this machine", "::ffff:" + hostAddr.String(): "this machine",
		n.Gateway().String(): "this machine", other.Gateway().String(): "this machine",
		container.IP.String(): "a container", attach(t, other, "o", 0).IP.String(): "a container",
		"10.63.1.2":       "a container",
		"169.254.169.254": "metadata", "fe80::1": "link", "fe80::1%lo": "link", "100.100.100.200": "metadata", "168.63.129.16": "metadata",
		"224.0.0.1": "not one machine's", "255.255.255.255": "not one machine's",
		farAddr.String(): "", "192.0.2.1": "",
	} {
		err := CheckOutside(netip.MustParseAddr(addr))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", addr, err, want)
		}
	}
}
