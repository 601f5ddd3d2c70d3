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
