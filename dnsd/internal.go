package dnsd

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

// ownsInternal reports whether a wire name is below "internal" and in a group that exists. Other names below
// "internal" are forwarded, because clouds and companies use that domain too.
func (z *Zone) ownsInternal(name []byte) bool {
	if !z.internal.contains(name) || len(name) == len(z.internal.origin) {
		return false
	}
	group := lastLabels(name, 2)
	return z.groups[string(group[1:1+group[0]])]
}

// answerInternal answers a container's queries for names of its own group. Other clients get NXDOMAIN. Each
// group is a zone of its own.
//
// APP.GROUP.internal has the addresses of the healthy instances in rotating order, and SRV records whose
// targets are the names of single instances: 10-77-0-5.APP.GROUP.internal. The SRV records also have the name
// _http._tcp.APP.GROUP.internal (RFC 2782), which some clients require.
func (z *Zone) answerInternal(m *message, v View) {
	if v.Class == Container && v.Group == "" {
		// The container belongs to a build or is just ending. SERVFAIL, because clients cache NXDOMAIN.
		m.rcode, m.info = dns.RcodeServerFailure, int(dns.ExtendedErrorCodeNotReady)
		return
	}
	a := z.internal
	a.labels = 2
	a.origin = lastLabels(m.q.Name(), a.labels)
	apex := m.q.nameLen == len(a.origin)
	var room [maxName]byte
	t := z.findInternal(treeKey(room[:0], m.q.Name(), z.internal.labels), v.Group)
	if !m.answerCommon(&a, apex, t.found) {
		return
	}
	switch {
	case apex && m.q.Type == dns.TypeNS:
		m.countAnswer(m.appendRecord(questionName, dns.TypeNS, ttl, a.ns))
	case t.one.IsValid():
		if m.q.Type == dns.TypeA && t.one.Is4() || m.q.Type == dns.TypeAAAA && t.one.Is6() {
			m.countAnswer(m.appendAddress(questionName, t.one))
		}
	case t.all == nil:
	case m.q.Type == dns.TypeSRV:
		m.appendServices(t.all, t.app)
	case t.service:
	case m.q.Type == dns.TypeA:
		m.appendAddresses(t.all.v4)
	case m.q.Type == dns.TypeAAAA:
		m.appendAddresses(t.all.v6)
	}
	m.addSOAIfEmpty(&a)
}

// internalTarget is what a name below "internal" refers to.
type internalTarget struct {
	found   existence
	all     *endpoints // the healthy instances of an app
	app     int        // offset of the app's name in the question
	service bool       // the name has only SRV records
	one     netip.Addr // a single instance
}

// httpService is the end of the key of an app's SRV records.
const httpService = "\x04_tcp\x05_http"

// findInternal looks a key up as the containers of a group see it.
func (z *Zone) findInternal(key []byte, group string) internalTarget {
	if own := key[1 : 1+key[0]]; group == "" || string(own) != group {
		return internalTarget{}
	}
	if len(key) == 1+len(group) {
		return internalTarget{found: emptyNonTerminal} // the group exists, even if nothing runs in it
	}
	all, found := find(z.services, key)
	if found != absent {
		return internalTarget{found: found, all: all, app: questionName}
	}
	if app, ok := bytes.CutSuffix(key, []byte(httpService)); ok {
		if all, ok := z.services.Get(app); ok {
			return internalTarget{found: present, all: all, app: questionName + len(httpService), service: true}
		}
	}
	cut := lastLabel(key)
	app, label := key[:cut], key[cut+1:]
	if _, ok := z.services.Get(app); !ok {
		return internalTarget{}
	}
	if string(label) == "_tcp" {
		return internalTarget{found: emptyNonTerminal}
	}
	if a := instanceAddr(label); a.IsValid() {
		if owner, ok := z.addrs.Get(addrKey(a)); ok && string(serviceKey(owner)) == string(app) {
			return internalTarget{found: present, one: a}
		}
	}
	return internalTarget{}
}

func (m *message) appendAddresses(all []netip.Addr) {
	for i := range all {
		if !m.countAnswer(m.appendAddress(questionName, all[m.q.turn(i, len(all))])) {
			return
		}
	}
}

// appendServices writes SRV records (RFC 2782) with equal weights and uncompressed targets, and the targets'
// addresses as far as they fit. app is the offset of the app's name in the question.
func (m *message) appendServices(set *endpoints, app int) {
	all := make([]netip.Addr, 0, len(set.v4)+len(set.v6))
	all = append(append(all, set.v4...), set.v6...)
	targets := make([]int, len(all))
	for i := range all {
		a := all[m.q.turn(i, len(all))]
		fixed := binary.BigEndian.AppendUint16(make([]byte, 4, 6), set.ports[a])
		targets[i] = len(m.b) + 12 + len(fixed)
		if !m.countAnswer(m.appendRecord(questionName, dns.TypeSRV, ttl, fixed, instanceLabel(a), m.q.Name()[app-questionName:])) {
			return
		}
	}
	for i, target := range targets {
		if target >= 1<<14 || !m.appendAddress(target, all[m.q.turn(i, len(all))]) {
			return
		}
		m.additional++
	}
}

// instanceName returns the name of an instance in wire form.
func instanceName(a netip.Addr, app cloud.AppRef) []byte {
	name := instanceLabel(a)
	for _, label := range []string{string(app.App), string(app.Group)} {
		name = append(append(name, byte(len(label))), label...)
	}
	return append(name, "\x08internal\x00"...)
}

// instanceLabel returns the first label of an instance's name, with its length in front: the address with "-"
// in place of "." and ":".
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

// instanceAddr parses a label written by instanceLabel, without its length.
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
