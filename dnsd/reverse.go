package dnsd

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"

	"github.com/miekg/dns"
)

// reverseZones are the zones for addresses that mean something else in each network (RFC 6303, section 4;
// RFC 7793). The root's servers must not be asked for them, and an upstream knows nothing of containers.
var reverseZones = slices.Concat(
	parsePrefixes("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16",
		"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "255.255.255.255/32",
		"::/128", "::1/128", "fd00::/8", "fe80::/12", "fe90::/12", "fea0::/12", "feb0::/12", "2001:db8::/32"),
	sixteens("172.16.0.0", 16), sixteens("100.64.0.0", 64),
)

// sixteens are n networks of 16 bits: zones are cut at the bytes of an address.
func sixteens(first string, n int) (all []netip.Prefix) {
	b := netip.MustParseAddr(first).As4()
	for range n {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4(b), 16))
		b[1]++
	}
	return all
}

// reverse is what a name below "in-addr.arpa" or "ip6.arpa" stands for.
type reverse struct {
	network netip.Prefix // as far as the name has its address: all of it for a whole address
	more    bool         // the name has further labels, which mean no address
}

// whole reports whether the name is that of one address.
func (r reverse) whole() bool { return r.network.IsSingleIP() && !r.more }

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()

	inAddrArpa = []byte("\x07in-addr\x04arpa\x00")
	ip6Arpa    = []byte("\x03ip6\x04arpa\x00")
)

// isReverse reports whether a name may be that of an address.
func isReverse(name []byte) bool { return bytes.HasSuffix(name, []byte("\x04arpa\x00")) }

// parseReverse reads a wire name in lower case; false where it is not the name of a network.
func parseReverse(name []byte) (reverse, bool) {
	v4 := authority{origin: inAddrArpa}
	v6 := authority{origin: ip6Arpa}
	var room [maxName]byte
	switch {
	case v4.holds(name):
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
	case v6.holds(name):
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

// reverseAuthority returns the zone that holds the name of a network; false where it is none of ours. Its
// origin is the end of the name.
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

// answerReverse answers for the names of addresses. A container's leads to the name that the instance has
// in its group, for its group and this machine. The names of other private addresses do not exist, but for
// those of networks that the machine uses itself: the upstream is asked for these, which false means.
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
	if v.Recurse && !containers && within(r.network, v.Site) {
		return false
	}
	top := len(a.origin) == m.q.nameLen
	target := z.reverseTarget(r, v)
	found := absent
	switch {
	case target != nil:
		found = present
	case top, !r.whole() && !r.more && (containers || slices.ContainsFunc(v.Site, overlaps)):
		found = between // whatever there is below it
	}
	if !m.begin(&a, top, found) {
		return true
	}
	switch {
	case top && m.q.Type == dns.TypeNS:
		m.answer(m.record(questionName, dns.TypeNS, ttl, a.ns))
	case target != nil && m.q.Type == dns.TypePTR:
		m.answer(m.record(questionName, dns.TypePTR, ttl, target))
	}
	m.end(&a)
	return true
}

// reverseTarget returns the name of an address as a client sees it, in wire form; nil for none.
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
