package dnsd

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// answerInternal answers a container for the names of its own group; nobody else has any.
//
// APP.GROUP.internal has the addresses of the healthy instances, starting at another one each time, and
// SRV records whose targets are names of single instances: 10-77-0-5.APP.GROUP.internal.
func (z *Zone) answerInternal(m *message, v View) {
	if v.Class == Container && v.Group == "" {
		// A build's, or one that is just going: "no such name" would be remembered.
		m.rcode, m.info = dns.RcodeServerFailure, int(dns.ExtendedErrorCodeNotReady)
		return
	}
	var room [maxName]byte
	key := treeKey(room[:0], m.q.Name(), z.internal.labels)
	set, only, found := z.instances(key, v.Group)
	if !m.begin(&z.internal, len(key) == 0, found) {
		return
	}
	switch {
	case len(key) == 0 && m.q.Type == dns.TypeNS:
		m.answer(m.record(questionName, dns.TypeNS, ttl, z.internal.ns))
	case only.IsValid():
		if m.q.Type == dns.TypeA && only.Is4() || m.q.Type == dns.TypeAAAA && only.Is6() {
			m.answer(m.address(questionName, only))
		}
	case set == nil:
	case m.q.Type == dns.TypeA:
		m.addresses(set.v4)
	case m.q.Type == dns.TypeAAAA:
		m.addresses(set.v6)
	case m.q.Type == dns.TypeSRV:
		m.services(set)
	}
	m.end(&z.internal)
}

// instances finds a key as a group's containers see it: the instances behind a name, or the one that the
// name of a single instance means.
func (z *Zone) instances(key []byte, group string) (*endpoints, netip.Addr, existence) {
	if len(key) == 0 {
		return nil, netip.Addr{}, between
	}
	if own := key[1 : 1+key[0]]; group == "" || string(own) != group {
		return nil, netip.Addr{}, absent
	}
	if set, found := find(z.services, key); found != absent {
		return set, netip.Addr{}, found
	}
	cut := lastLabel(key)
	if set, ok := z.services.Get(key[:cut]); ok {
		if a := instanceAddr(key[cut+1:]); a.IsValid() {
			if _, ok := set.ports[a]; ok {
				return nil, a, present
			}
		}
	}
	if len(key) == 1+len(group) {
		return nil, netip.Addr{}, between // the group is there, though nothing runs in it
	}
	return nil, netip.Addr{}, absent
}

func (m *message) addresses(all []netip.Addr) {
	for i := range all {
		if !m.answer(m.address(questionName, all[m.q.turn(i, len(all))])) {
			return
		}
	}
}

// services writes SRV records (RFC 2782: all weigh the same, targets are not compressed) and, as far as
// there is room, the targets' addresses.
func (m *message) services(set *endpoints) {
	all := make([]netip.Addr, 0, len(set.v4)+len(set.v6))
	all = append(append(all, set.v4...), set.v6...)
	targets := make([]int, len(all))
	for i := range all {
		a := all[m.q.turn(i, len(all))]
		fixed := binary.BigEndian.AppendUint16(make([]byte, 4, 6), set.ports[a])
		targets[i] = len(m.b) + 12 + len(fixed)
		if !m.answer(m.record(questionName, dns.TypeSRV, ttl, fixed, instanceLabel(a), m.q.Name())) {
			return
		}
	}
	for i, target := range targets {
		if target >= 1<<14 || !m.address(target, all[m.q.turn(i, len(all))]) {
			return
		}
		m.additional++
	}
}

// instanceLabel is the name of one instance below its app's: its address with "-" for "." and ":", with
// its length in front.
func instanceLabel(a netip.Addr) []byte {
	label := a.AppendTo(make([]byte, 1, 64))
	label[0] = byte(len(label) - 1)
	for i, c := range label[1:] {
		if c == '.' || c == ':' {
			label[1+i] = '-'
		}
	}
	return label
}

// instanceAddr reads a label that instanceLabel wrote.
func instanceAddr(label []byte) netip.Addr {
	for _, separator := range []byte{'.', ':'} {
		text := slices.Clone(label)
		for i, c := range text {
			if c == '-' {
				text[i] = separator
			}
		}
		if a, err := netip.ParseAddr(string(text)); err == nil && a.Zone() == "" {
			return a
		}
	}
	return netip.Addr{}
}
