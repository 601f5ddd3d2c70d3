package config

import (
	"net/netip"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// DefaultAPIPort is where the remote API answers unless another port is given.
const DefaultAPIPort = 7443

// APIAddress is an address on which the API answers clients of other machines.
type APIAddress struct {
	netip.AddrPort
	// Plain is without TLS, for a proxy on the same machine.
	Plain bool
}

// setAPI reads "IP:PORT", "https://IP:PORT" and, on loopback alone, "http://IP:PORT".
func (n *Node) setAPI(values []string) error {
	n.API = nil
	for _, v := range values {
		text := strings.TrimSpace(v)
		plain := strings.HasPrefix(text, "http://")
		text = strings.TrimPrefix(strings.TrimPrefix(text, "http://"), "https://")
		var addrs []netip.AddrPort
		if err := setAddresses(&addrs, []string{text}, DefaultAPIPort, true); err != nil {
			return err
		}
		if plain && !addrs[0].Addr().IsLoopback() {
			return cloud.Errorf(cloud.Invalid, "api address %s would send passwords and tokens in clear text", v).WithHint("leave http:// out, or use 127.0.0.1 behind a proxy with TLS")
		}
		n.API = append(n.API, APIAddress{addrs[0], plain})
	}
	return nil
}
