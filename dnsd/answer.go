package dnsd

import (
	"net/netip"

	"github.com/miekg/dns"
)

// Answer writes the answer to a query into b, which it may grow, and returns it. False means that the
// name is none of ours and the client may have it looked up.
//
// It is a pure function of the zone, the query and the view.
func (z *Zone) Answer(b []byte, q *Query, v View) ([]byte, bool) {
	m := newMessage(b, q)
	if v.Recurse {
		m.flags |= flagRA
	}
	switch {
	case q.rcode != dns.RcodeSuccess:
		return m.finish(), true
	case q.Version != 0: // RFC 6891, section 6.1.3
		m.rcode = dns.RcodeBadVers
		return m.finish(), true
	case q.asksForCookie():
		return m.finish(), true
	case v.Class == Outside:
		return m.refuse(dns.ExtendedErrorCodeProhibited), true
	case q.Class != dns.ClassINET, q.Type == dns.TypeAXFR, q.Type == dns.TypeIXFR:
		return m.refuse(dns.ExtendedErrorCodeNotSupported), true
	case metaType(q.Type):
		m.rcode = dns.RcodeNotImplemented
		return m.finish(), true
	}
	name := q.Name()
	switch {
	case z.private.holds(name):
		z.answerPrivate(&m, v)
	case z.claims(name):
		z.answerInternal(&m, v)
	case z.local.holds(name):
		z.answerLocal(&m)
	case isReverse(name) && z.answerReverse(&m, v):
	case z.answerUnused(&m):
	case !v.Recurse, q.Type == dns.TypeANY:
		return m.refuse(dns.ExtendedErrorCodeNotAuthoritative), true
	default:
		return nil, false
	}
	return m.finish(), true
}

// metaType is a type that is no data and that we have no use for (RFC 6895, section 3.1).
func metaType(t uint16) bool {
	return t == dns.TypeOPT || t == 0 || 128 <= t && t < dns.TypeANY
}

// refuse answers REFUSED and, to those who understand it, why (RFC 8914).
func (m *message) refuse(why uint16) []byte {
	m.rcode, m.info = dns.RcodeRefused, int(why)
	return m.finish()
}

func (z *Zone) answerPrivate(m *message, v View) {
	var room [maxName]byte
	key := treeKey(room[:0], m.q.Name(), z.private.labels)
	found := z.findHost(key)
	if !m.begin(&z.private, len(key) == 0, found) {
		return
	}
	switch {
	case len(key) == 0 && m.q.Type == dns.TypeNS:
		// The name server is this node, at the address that the client reaches anyway.
		glue := len(m.b) + 12
		if m.answer(m.record(questionName, dns.TypeNS, ttl, z.private.ns)) && v.A.IsValid() && m.address(glue, v.A) {
			m.additional++
		}
	case found == between:
	case m.q.Type == dns.TypeA && v.A.IsValid():
		m.answer(m.address(questionName, v.A))
	case m.q.Type == dns.TypeAAAA && v.AAAA.IsValid():
		m.answer(m.address(questionName, v.AAAA))
	}
	m.end(&z.private)
}

// begin writes what all our zones have in common: whether the name exists, the SOA at the top, and the
// least answer to ANY (RFC 8482, section 4.2). It returns false where that is all.
func (m *message) begin(a *authority, top bool, found existence) bool {
	m.flags |= flagAA
	switch {
	case found == absent:
		m.rcode = dns.RcodeNameError
	case m.q.Type == dns.TypeANY:
		m.answer(m.record(questionName, dns.TypeHINFO, ttl, []byte("\x07RFC8482\x00")))
		return false
	case top && m.q.Type == dns.TypeSOA:
		m.answer(m.record(questionName, dns.TypeSOA, ttl, a.soa))
		return false
	default:
		return true
	}
	m.soa(a)
	return false
}

// end turns an answer without records into NODATA.
func (m *message) end(a *authority) {
	if m.answers == 0 && m.flags&flagTC == 0 {
		m.soa(a)
	}
}

// answerLocal answers for "localhost" and all below it (RFC 6761, section 6.3).
func (z *Zone) answerLocal(m *message) {
	top := m.q.nameLen == len(z.local.origin)
	if !m.begin(&z.local, top, present) {
		return
	}
	switch {
	case m.q.Type == dns.TypeA:
		m.answer(m.address(questionName, netip.AddrFrom4([4]byte{127, 0, 0, 1})))
	case m.q.Type == dns.TypeAAAA:
		m.answer(m.address(questionName, netip.IPv6Loopback()))
	case m.q.Type == dns.TypeNS && top:
		m.answer(m.record(questionName, dns.TypeNS, ttl, z.local.ns))
	}
	m.end(&z.local)
}
