package addresses

import (
	"net/netip"
	"slices"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
	"github.com/protoduction/micro/node/proc"
)

// PickDNS decides where the DNS server is to listen, where nobody did: at an address that the process was handed,
// else at the first that is free.
func PickDNS(handed func(netip.AddrPort) bool) ([]netip.AddrPort, error) {
	candidates := dnsd.DefaultAddrs()
	if i := slices.IndexFunc(candidates, handed); i >= 0 {
		return candidates[i : i+1], nil
	}
	a, err := dnsd.PickAddr(candidates...)
	if err != nil {
		return nil, DNSTaken(err, candidates, netip.Addr{})
	}
	return []netip.AddrPort{a}, nil
}

// DNSTaken adds to an error who holds an address of the DNS server's that is taken. That at the gateway can't be
// chosen: containers ask there.
func DNSTaken(err error, addrs []netip.AddrPort, gateway netip.Addr) error {
	if cloud.CodeOf(err) != cloud.Conflict {
		return err
	}
	for _, a := range addrs {
		for _, protocol := range []string{"udp", "tcp"} {
			if who := proc.Holder(protocol, a); who != proc.Unknown {
				taken := cloud.Errorf(cloud.Conflict, "dns: port %d of %s is taken by %s", a.Port(), a.Addr(), who)
				if a.Addr() == gateway {
					return taken.WithHint("containers ask the node there: have the other one listen on its own addresses instead of all")
				}
				return taken.WithHint("choose another with --dns %s", netip.AddrPortFrom(a.Addr(), 5355))
			}
		}
	}
	return err
}
