package addresses

import (
	"net/netip"
	"slices"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
	"github.com/protoduction/micro/node/proc"
)

// PickDNS chooses the address of the DNS server if none is configured: an address of a socket that systemd passed
// to the process, otherwise the first free one.
func PickDNS(handed func(netip.AddrPort) bool) ([]netip.AddrPort, error) {
	candidates := dnsd.DefaultAddrs()
	if i := slices.IndexFunc(candidates, handed); i >= 0 {
		return candidates[i : i+1], nil
	}
	a, err := dnsd.PickAddr(candidates...)
	if err != nil {
		return nil, DNSInUse(err, candidates, netip.Addr{})
	}
	return []netip.AddrPort{a}, nil
}

// DNSInUse adds to an error which process uses an address of the DNS server. The address at the gateway can't be
// changed, because containers ask there.
func DNSInUse(err error, addrs []netip.AddrPort, gateway netip.Addr) error {
	if cloud.CodeOf(err) != cloud.Conflict {
		return err
	}
	for _, a := range addrs {
		for _, protocol := range []string{"udp", "tcp"} {
			if who := proc.Holder(protocol, a); who != proc.Unknown {
				taken := cloud.Errorf(cloud.Conflict, "dns: port %d of %s is taken by %s", a.Port(), a.Addr(), who)
				if a.Addr() == gateway {
					return taken.WithHint("containers ask the node there: configure the other program to listen on specific addresses instead of all")
				}
				return taken.WithHint("choose another with --dns %s", netip.AddrPortFrom(a.Addr(), 5355))
			}
		}
	}
	return err
}

// PublicDNS returns the addresses on which the world is asked to ask: the configured ones. A wildcard stands for each
// address of this machine that other machines may reach and that is free: other DNS servers have addresses of their own,
// such as systemd-resolved's on loopback, and those of this node.
func PublicDNS(configured []netip.AddrPort, machine []netip.Addr, free func(netip.AddrPort) bool) (addrs []netip.AddrPort, err error) {
	for _, c := range configured {
		if !c.Addr().IsUnspecified() {
			addrs = append(addrs, c)
			continue
		}
		found := false
		for _, ip := range machine {
			a := netip.AddrPortFrom(ip, c.Port())
			if ip.Is4() != c.Addr().Is4() || !ip.IsGlobalUnicast() || slices.Contains(addrs, a) || !free(a) {
				continue
			}
			addrs, found = append(addrs, a), true
		}
		if !found {
			return nil, cloud.Errorf(cloud.Invalid, "public-dns: this machine has no address for %s that is free, but loopback", c).WithHint("ip -brief address; name one with --public-dns")
		}
	}
	return addrs, nil
}
