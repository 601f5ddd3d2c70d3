package config

import (
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Names configures the DNS server, mostly for names that are not the node's own.
type Names struct {
	// Upstreams are asked in this order. If there are none, ResolvConf names them.
	Upstreams  []netip.AddrPort
	ResolvConf string
	// Upstream answers may have private addresses in these networks and for these domains, and in networks
	// that the machine itself uses. The domain "." means all names.
	PrivateNetworks []netip.Prefix
	PrivateDomains  []string
	// Rate is how many UDP answers per second each neighbouring network gets; 0 is the server's default,
	// below 0 means no limit.
	Rate int
}

// setUpstreams parses "IP", "IP:port" or the path of a resolv.conf.
func (n *Names) setUpstreams(values []string) error {
	n.Upstreams, n.ResolvConf = nil, ""
	for _, v := range values {
		v = strings.TrimSpace(v)
		if filepath.IsAbs(v) {
			if len(values) > 1 {
				return cloud.Errorf(cloud.Invalid, "dns-upstream has the file %s and other values", v).WithHint("give addresses, or one file")
			}
			n.ResolvConf = filepath.Clean(v)
			return nil
		}
		a, err := netip.ParseAddrPort(v)
		if ip, ipErr := netip.ParseAddr(strings.Trim(v, "[]")); ipErr == nil {
			a, err = netip.AddrPortFrom(ip, 53), nil
		}
		if err != nil || a.Addr().IsUnspecified() || a.Port() == 0 {
			return cloud.Errorf(cloud.Invalid, "DNS upstream %q is not a server's address", v).
				WithHint("for example 192.0.2.53, 192.0.2.53:5353, or the path of a resolv.conf")
		}
		n.Upstreams = append(n.Upstreams, a)
	}
	return nil
}

// setPrivate parses networks, addresses and domains.
func (n *Names) setPrivate(values []string) error {
	n.PrivateNetworks, n.PrivateDomains = nil, nil
	for _, v := range values {
		v = strings.TrimSpace(v)
		if p, err := netip.ParsePrefix(v); err == nil {
			n.PrivateNetworks = append(n.PrivateNetworks, p.Masked())
			continue
		}
		if ip, err := netip.ParseAddr(v); err == nil && ip.Zone() == "" {
			n.PrivateNetworks = append(n.PrivateNetworks, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		host, err := cloud.ParseHost(v)
		switch {
		case v == ".":
			host = "."
		case err != nil, strings.HasPrefix(string(host), "*"):
			return cloud.Errorf(cloud.Invalid, "dns-private %q is neither a network nor a domain", v).
				WithHint("for example 10.0.0.0/8, corp.example.com, or . for all names")
		}
		n.PrivateDomains = append(n.PrivateDomains, string(host))
	}
	return nil
}

// setRate parses a number of answers per second; 0 means no limit.
func (n *Names) setRate(value string) error {
	rate, err := strconv.Atoi(value)
	if err != nil || rate < 0 || rate > 1_000_000 {
		return cloud.Errorf(cloud.Invalid, "dns-rate %q is not a number of answers per second", value).WithHint("for example 200, or 0 for no limit")
	}
	if n.Rate = rate; rate == 0 {
		n.Rate = -1
	}
	return nil
}
