package dnsd

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"

	"github.com/miekg/dns"
)

// reverseZones are the zones of addresses whose meaning depends on the network (RFC 6303, section 4; RFC
// 7793). Queries for them must not reach the root servers, and no upstream knows our containers.
var reverseZones = slices.Concat(
	parsePrefixes("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16",
		"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "255.255.255.255/32",
		"::/128", "::1/128", "fd00::/8", "fe80::/12", "fe90::/12", "fea0::/12", "feb0::/12", "2001:db8::/32"),
	slash16s("172.16.0.0", 16), slash16s("100.64.0.0", 64),
)

// slash16s returns n adjacent /16 networks: reverse zones of IPv4 end at byte boundaries.
func slash16s(first string, n int) (all []netip.Prefix) {
	b := netip.MustParseAddr(first).As4()
	for range n {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4(b), 16))
		b[1]++
	}
	return all
}

// reverse is the meaning of a name below "in-addr.arpa" or "ip6.arpa".
type reverse struct {
	network netip.Prefix // as many bits as the name has; a single address for a complete name
	more    bool         // the name has further labels, which are not part of an address
}

// whole reports whether the name belongs to one address.
func (r reverse) whole() bool { return r.network.IsSingleIP() && !r.more }

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()

	inAddrArpa = []byte("\x07in-addr\x04arpa\x00")
	ip6Arpa    = []byte("\x03ip6\x04arpa\x00")
)

// isReverse reports whether a name may be in a reverse zone.
func isReverse(name []byte) bool { return bytes.HasSuffix(name, []byte("\x04arpa\x00")) }

// parseReverse parses a wire name in lower case. It returns false if the name is not in a reverse zone.
func parseReverse(name []byte) (reverse, bool) {
	v4 := authority{origin: inAddrArpa}
	v6 := authority{origin: ip6Arpa}
	var room [maxName]byte
	switch {
	case v4.contains(name):
		var b [4]byte
		n, more := 0, false
		for label := range labels(treeKey(room[:0], name, 2)) {
			octet, err := strconv.ParseUint(string(label), 10, 8)
			if n == len(b) || err != nil || strconv.FormatUint(octet, 10) != string(label) {
				more = true
				break
			}
			b[n] = byte(octet)
			n++
		}
		return reverse{netip.PrefixFrom(netip.AddrFrom4(b), 8*n), more}, true
	case v6.contains(name):
		var b [16]byte
		n, more := 0, false
		for label := range labels(treeKey(room[:0], name, 2)) {
			nibble, err := strconv.ParseUint(string(label), 16, 4)
			if n == 2*len(b) || err != nil || len(label) != 1 {
				more = true
				break
			}
			b[n/2] |= byte(nibble) << (4 * (1 - n%2))
			n++
		}
		return reverse{netip.PrefixFrom(netip.AddrFrom16(b), 4*n), more}, true
	}
	return reverse{}, false
}

// reverseAuthority returns our zone that contains the name of a network, or false. The zone's origin is a
// suffix of the name.
func (z *Zone) reverseAuthority(name []byte, network netip.Prefix) (authority, bool) {
	i := slices.IndexFunc(reverseZones, func(zone netip.Prefix) bool {
		return zone.Bits() <= network.Bits() && zone.Contains(network.Addr())
	})
	if i < 0 {
		return authority{}, false
	}
	cuts := reverseZones[i].Bits() / 8
	if reverseZones[i].Addr().Is6() {
		cuts = reverseZones[i].Bits() / 4
	}
	a := z.internal
	a.labels = cuts + 2
	a.origin = lastLabels(name, a.labels)
	return a, true
}

// answerReverse answers for the reverse names of addresses. The address of a container has a PTR record with
// the instance's name, for clients of its group and on this machine. Other private addresses have no name.
// answerReverse returns false for networks that the machine itself uses: the upstream may know their names.
func (z *Zone) answerReverse(m *message, v View) bool {
	r, ok := parseReverse(m.q.Name())
	if !ok {
		return false
	}
	a, ok := z.reverseAuthority(m.q.Name(), r.network)
	if !ok {
		return false
	}
	overlaps := func(n netip.Prefix) bool { return n.Overlaps(r.network) }
	containers := slices.ContainsFunc(z.subnets, overlaps)
	if v.Recurse && !containers && within(r.network, v.UpstreamNetworks) {
		return false
	}
	apex := len(a.origin) == m.q.nameLen
	target := z.reverseTarget(r, v)
	found := absent
	switch {
	case target != nil:
		found = present
	case apex, !r.whole() && !r.more && (containers || slices.ContainsFunc(v.UpstreamNetworks, overlaps)):
		found = emptyNonTerminal // there may be names below it
	}
	if !m.answerCommon(&a, apex, found) {
		return true
	}
	switch {
	case apex && m.q.Type == dns.TypeNS:
		m.countAnswer(m.appendRecord(questionName, dns.TypeNS, ttl, a.ns))
	case target != nil && m.q.Type == dns.TypePTR:
		m.countAnswer(m.appendRecord(questionName, dns.TypePTR, ttl, target))
	}
	m.addSOAIfEmpty(&a)
	return true
}

// reverseTarget returns the name of an address for a client, in wire form; nil if it has none.
func (z *Zone) reverseTarget(r reverse, v View) []byte {
	addr := r.network.Addr()
	if !r.whole() {
		return nil
	}
	if addr == loopback4 || addr == loopback6 {
		return z.local.origin
	}
	app, ok := z.addrs.Get(addrKey(addr))
	if ok && (v.Class == Loopback || v.Class == Container && v.Group == string(app.Group)) {
		return instanceName(addr, app)
	}
	return nil
}
