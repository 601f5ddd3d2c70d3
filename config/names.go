package config

import (
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Names is how a node answers DNS queries for names that are not its own.
type Names struct {
	// Upstreams are asked in this order; where there are none, those that ResolvConf names.
	Upstreams  []netip.AddrPort
	ResolvConf string
	// Upstream answers may have private addresses in these networks and under these domains, beside the
	// networks that the machine itself uses. The domain "." is all names.
	PrivateNetworks []netip.Prefix
	PrivateDomains  []string
	// Rate is how many UDP answers a second each neighbouring network gets; 0 is the server's default,
	// below 0 is no limit.
	Rate int
}

// setUpstreams reads "IP", "IP:port" and the path of a resolv.conf.
func (n *Names) setUpstreams(values []string) error {
	n.Upstreams, n.ResolvConf = nil, ""
	for _, v := range values {
		v = strings.TrimSpace(v)
		if filepath.IsAbs(v) {
			if len(values) > 1 {
				return cloud.Errorf(cloud.Invalid, "dns-upstream has the file %s and something else", v).WithHint("give addresses, or one file")
			}
			n.ResolvConf = filepath.Clean(v)
			return nil
		}
		a, err := netip.ParseAddrPort(v)
		if ip, ipErr := netip.ParseAddr(strings.Trim(v, "[]")); ipErr == nil {
			a, err = netip.AddrPortFrom(ip, 53), nil
		}
		if err != nil || a.Addr().IsUnspecified() || a.Port() == 0 {
			return cloud.Errorf(cloud.Invalid, "DNS upstream %q is not the address of a server", v).
				WithHint("for example 192.0.2.53, 192.0.2.53:5353, or the path of a resolv.conf")
		}
		n.Upstreams = append(n.Upstreams, a)
	}
	return nil
}

// setPrivate reads networks, addresses and domains.
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

// setRate reads a number of answers a second, 0 for no limit.
func (n *Names) setRate(value string) error {
	rate, err := strconv.Atoi(value)
	if err != nil || rate < 0 || rate > 1_000_000 {
		return cloud.Errorf(cloud.Invalid, "dns-rate %q is not a number of answers a second", value).WithHint("for example 200, or 0 for no limit")
	}
	if n.Rate = rate; rate == 0 {
		n.Rate = -1
	}
	return nil
}
