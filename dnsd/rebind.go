package dnsd

import (
	"net"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// privatePrefixes are addresses that no name on the internet has any business to have.
func privatePrefixes() []netip.Prefix {
	var prefixes []netip.Prefix
	for _, p := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
		"::/128", "::1/128", "fc00::/7", "fe80::/10", "fec0::/10",
	} {
		prefixes = append(prefixes, netip.MustParsePrefix(p))
	}
	return prefixes
}

// dropPrivate takes the records with private addresses out of an answer, and the address hints of
// service bindings (RFC 9460), and returns how many it took.
func dropPrivate(m *dns.Msg, more []netip.Prefix) int {
	prefixes := append(privatePrefixes(), more...)
	isPrivate := func(ip net.IP) bool {
		addr, ok := netip.AddrFromSlice(ip)
		if !ok {
			return true
		}
		addr = embedded(addr)
		return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	dropped := 0
	for _, section := range []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra} {
		kept := (*section)[:0]
		for _, rr := range *section {
			drop := false
			switch rr := rr.(type) {
			case *dns.A:
				drop = isPrivate(rr.A)
			case *dns.AAAA:
				drop = isPrivate(rr.AAAA)
			case *dns.SVCB:
				dropped += dropHints(rr, isPrivate)
			case *dns.HTTPS:
				dropped += dropHints(&rr.SVCB, isPrivate)
			}
			if drop {
				dropped++
			} else {
				kept = append(kept, rr)
			}
		}
		*section = kept
	}
	return dropped
}

// embedded returns the IPv4 address inside an IPv6 one: mapped, or by NAT64 (RFC 6052) or 6to4 (RFC 3056).
func embedded(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if !addr.Is6() {
		return addr
	}
	b := addr.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr), netip.MustParsePrefix("::/96").Contains(addr) && b[12] != 0:
		return netip.AddrFrom4([4]byte(b[12:]))
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return addr
}

func dropHints(rr *dns.SVCB, isPrivate func(net.IP) bool) int {
	before := len(rr.Value)
	rr.Value = slices.DeleteFunc(rr.Value, func(kv dns.SVCBKeyValue) bool {
		switch hint := kv.(type) {
		case *dns.SVCBIPv4Hint:
			return slices.ContainsFunc(hint.Hint, isPrivate)
		case *dns.SVCBIPv6Hint:
			return slices.ContainsFunc(hint.Hint, isPrivate)
		}
		return false
	})
	return before - len(rr.Value)
}
