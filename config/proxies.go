package config

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Proxies configures the proxies between clients and the router: load balancers, TLS proxies, CDNs.
type Proxies struct {
	// Trusted are the networks of proxies whose X-Forwarded-* and Forwarded fields are trusted.
	Trusted []netip.Prefix
	// Protocol are the networks whose connections begin with a PROXY protocol header.
	Protocol []netip.Prefix

	protocolOn bool // "on": all trusted proxies use the protocol
}

// setProtocol parses "on", "off" or networks.
func (p *Proxies) setProtocol(values []string) error {
	p.Protocol, p.protocolOn = nil, false
	if len(values) == 1 {
		switch strings.TrimSpace(values[0]) {
		case "off", "false":
			return nil
		case "on", "true":
			p.protocolOn = true
			return nil
		}
	}
	return setNetworks(&p.Protocol, "proxy-protocol", values)
}

// check validates the combination of the settings after all have been read.
func (p *Proxies) check() error {
	if !p.protocolOn {
		return nil
	}
	if len(p.Trusted) == 0 {
		return cloud.Errorf(cloud.Invalid, "proxy-protocol is on, but there are no trusted-proxies that could use it").WithHint("add them with --trusted-proxies, or give their networks to --proxy-protocol")
	}
	p.Protocol = slices.Clone(p.Trusted)
	return nil
}

// setNetworks parses networks and single addresses.
func setNetworks(to *[]netip.Prefix, key string, values []string) error {
	*to = nil
	for _, v := range values {
		v = strings.TrimSpace(v)
		p, err := netip.ParsePrefix(v)
		if a, addrErr := netip.ParseAddr(v); addrErr == nil && a.Zone() == "" {
			a = a.Unmap()
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil || p.Addr().Is4In6() {
			return cloud.Errorf(cloud.Invalid, "%s %q is not a network or an address", key, v).WithHint("for example 10.0.0.0/8 or 192.0.2.10")
		}
		*to = append(*to, p.Masked())
	}
	return nil
}
