package dnsd

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

// claims reports whether a wire name is below "internal" and in a group that exists. The others are
// forwarded: clouds and companies use that domain too.
func (z *Zone) claims(name []byte) bool {
	if !z.internal.holds(name) || len(name) == len(z.internal.origin) {
		return false
	}
	group := lastLabels(name, 2)
	return z.groups[string(group[1:1+group[0]])]
}

// answerInternal answers a container for the names of its own group; nobody else has any. Each group is a
// zone of its own.
//
// APP.GROUP.internal has the addresses of the healthy instances, starting at another one each time, and
// SRV records whose targets are names of single instances: 10-77-0-5.APP.GROUP.internal. The SRV records
// have the name _http._tcp.APP.GROUP.internal too (RFC 2782), which some clients insist on.
func (z *Zone) answerInternal(m *message, v View) {
	if v.Class == Container && v.Group == "" {
		// A build's, or one that is just going: "no such name" would be remembered.
		m.rcode, m.info = dns.RcodeServerFailure, int(dns.ExtendedErrorCodeNotReady)
		return
	}
	a := z.internal
	a.labels = 2
	a.origin = lastLabels(m.q.Name(), a.labels)
	top := m.q.nameLen == len(a.origin)
	var room [maxName]byte
	t := z.instances(treeKey(room[:0], m.q.Name(), z.internal.labels), v.Group)
	if !m.begin(&a, top, t.found) {
		return
	}
	switch {
	case top && m.q.Type == dns.TypeNS:
		m.answer(m.record(questionName, dns.TypeNS, ttl, a.ns))
	case t.one.IsValid():
		if m.q.Type == dns.TypeA && t.one.Is4() || m.q.Type == dns.TypeAAAA && t.one.Is6() {
			m.answer(m.address(questionName, t.one))
		}
	case t.all == nil:
	case m.q.Type == dns.TypeSRV:
		m.services(t.all, t.app)
	case t.service:
	case m.q.Type == dns.TypeA:
		m.addresses(t.all.v4)
	case m.q.Type == dns.TypeAAAA:
		m.addresses(t.all.v6)
	}
	m.end(&a)
}

// internalTarget is what a name below "internal" stands for.
type internalTarget struct {
	found   existence
	all     *endpoints // the healthy instances of an app
	app     int        // the offset of the app's name in the question
	service bool       // the name is that of SRV records alone
	one     netip.Addr // a single instance
}

// httpService is the end of the key of an app's SRV records.
const httpService = "\x04_tcp\x05_http"

// instances looks a key up as a group's containers see it.
func (z *Zone) instances(key []byte, group string) internalTarget {
	if own := key[1 : 1+key[0]]; group == "" || string(own) != group {
		return internalTarget{}
	}
	if len(key) == 1+len(group) {
		return internalTarget{found: between} // the group exists, though nothing may run in it
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
		return internalTarget{found: between}
	}
	if a := instanceAddr(label); a.IsValid() {
		if owner, ok := z.addrs.Get(addrKey(a)); ok && string(serviceKey(owner)) == string(app) {
			return internalTarget{found: present, one: a}
		}
	}
	return internalTarget{}
}

func (m *message) addresses(all []netip.Addr) {
	for i := range all {
		if !m.answer(m.address(questionName, all[m.q.turn(i, len(all))])) {
			return
		}
	}
}

// services writes SRV records (RFC 2782: all weigh the same, targets are not compressed) and, as far as
// there is room, the targets' addresses. The app's name begins at an offset of the question.
func (m *message) services(set *endpoints, app int) {
	all := make([]netip.Addr, 0, len(set.v4)+len(set.v6))
	all = append(append(all, set.v4...), set.v6...)
	targets := make([]int, len(all))
	for i := range all {
		a := all[m.q.turn(i, len(all))]
		fixed := binary.BigEndian.AppendUint16(make([]byte, 4, 6), set.ports[a])
		targets[i] = len(m.b) + 12 + len(fixed)
		if !m.answer(m.record(questionName, dns.TypeSRV, ttl, fixed, instanceLabel(a), m.q.Name()[app-questionName:])) {
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

// instanceName is the name of one instance, in wire form.
func instanceName(a netip.Addr, app cloud.AppRef) []byte {
	name := instanceLabel(a)
	for _, label := range []string{string(app.App), string(app.Group)} {
		name = append(append(name, byte(len(label))), label...)
	}
	return append(name, "\x08internal\x00"...)
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
