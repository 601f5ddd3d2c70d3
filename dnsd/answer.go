package dnsd

import (
	"net/netip"

	"github.com/miekg/dns"
)

// Answer appends the answer to b[:0] and returns it. It returns false if the name is in none of our zones
// and the query should be forwarded for this client.
//
// Answer is a pure function of the zone, the query and the view.
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
	case z.answerChallenge(&m, v.Challenges):
	case v.Class == World:
		return m.refuse(dns.ExtendedErrorCodeNotAuthoritative), true
	case z.private.contains(name):
		z.answerPrivate(&m, v)
	case z.ownsInternal(name):
		z.answerInternal(&m, v)
	case z.local.contains(name):
		z.answerLocal(&m)
	case isReverse(name) && z.answerReverse(&m, v):
	case z.answerSpecialUse(&m):
	case !v.Recurse, q.Type == dns.TypeANY:
		return m.refuse(dns.ExtendedErrorCodeNotAuthoritative), true
	default:
		return nil, false
	}
	return m.finish(), true
}

// metaType reports whether a type is a meta-type that we don't support (RFC 6895, section 3.1).
func metaType(t uint16) bool {
	return t == dns.TypeOPT || t == 0 || 128 <= t && t < dns.TypeANY
}

// refuse answers REFUSED, with an extended error as the reason (RFC 8914).
func (m *message) refuse(why uint16) []byte {
	m.rcode, m.info = dns.RcodeRefused, int(why)
	return m.finish()
}

func (z *Zone) answerPrivate(m *message, v View) {
	var room [maxName]byte
	key := treeKey(room[:0], m.q.Name(), z.private.labels)
	found := z.findHost(key)
	if !m.answerCommon(&z.private, len(key) == 0, found) {
		return
	}
	switch {
	case len(key) == 0 && m.q.Type == dns.TypeNS:
		// The name server is this node, so its address is the one at which the client reaches the node.
		nsName := len(m.b) + 12
		if m.countAnswer(m.appendRecord(questionName, dns.TypeNS, ttl, z.private.ns)) && v.A.IsValid() && m.appendAddress(nsName, v.A) {
			m.additional++
		}
	case found == emptyNonTerminal:
	case m.q.Type == dns.TypeA:
		z.answerRouters(m, v, v.A, netip.Addr.Is4)
	case m.q.Type == dns.TypeAAAA:
		z.answerRouters(m, v, v.AAAA, netip.Addr.Is6)
	case m.q.Type == dns.TypeHTTPS && v.HTTPS != 0 && z.asksTLS(key):
		service := serviceHTTPS
		if v.HTTP3 {
			service = serviceHTTP3
		}
		m.countAnswer(m.appendRecord(questionName, dns.TypeHTTPS, ttl, service, []byte{byte(v.HTTPS >> 8), byte(v.HTTPS)}))
	}
	m.addSOAIfEmpty(&z.private)
}

// answerRouters answers with the address of this node's router, which comes first, and with those of other nodes that the
// client reaches in its own network.
func (z *Zone) answerRouters(m *message, v View, own netip.Addr, family func(netip.Addr) bool) {
	if own.IsValid() {
		m.countAnswer(m.appendAddress(questionName, own))
	}
	for _, a := range z.routers {
		if a != own && family(a) && v.Network.IsValid() && v.Network.Contains(a) {
			m.countAnswer(m.appendAddress(questionName, a))
		}
	}
}

// serviceHTTPS is a record that says how a host is asked by TLS (RFC 9460), up to the port's number: priority 1, the name
// itself, ALPN and port. serviceHTTP3 says the same of a host that is answered by HTTP/3 too. A browser that reads it asks
// by HTTP/3 or HTTP/2, and by TLS at once, without being led there. Only hosts that are asked by TLS alone have the record:
// others must open for people who don't trust the cloud's authority.
var (
	serviceHTTPS = []byte("\x00\x01\x00" + "\x00\x01\x00\x0c\x02h2\x08http/1.1" + "\x00\x03\x00\x02")
	serviceHTTP3 = []byte("\x00\x01\x00" + "\x00\x01\x00\x0f\x02h3\x02h2\x08http/1.1" + "\x00\x03\x00\x02")
)

// answerCommon writes the answers that are the same in all our zones: NXDOMAIN, the SOA at the apex, and the
// minimal answer to ANY (RFC 8482, section 4.2). It returns false if the answer is then complete.
func (m *message) answerCommon(a *authority, apex bool, found existence) bool {
	m.flags |= flagAA
	switch {
	case found == absent:
		m.rcode = dns.RcodeNameError
	case m.q.Type == dns.TypeANY:
		m.countAnswer(m.appendRecord(questionName, dns.TypeHINFO, ttl, []byte("\x07RFC8482\x00")))
		return false
	case apex && m.q.Type == dns.TypeSOA:
		m.countAnswer(m.appendRecord(questionName, dns.TypeSOA, ttl, a.soa))
		return false
	default:
		return true
	}
	m.appendSOA(a)
	return false
}

// addSOAIfEmpty turns an answer without records into NODATA, which needs the zone's SOA (RFC 2308).
func (m *message) addSOAIfEmpty(a *authority) {
	if m.answers == 0 && m.flags&flagTC == 0 {
		m.appendSOA(a)
	}
}

// answerLocal answers for "localhost" and the names below it (RFC 6761, section 6.3).
func (z *Zone) answerLocal(m *message) {
	apex := m.q.nameLen == len(z.local.origin)
	if !m.answerCommon(&z.local, apex, present) {
		return
	}
	switch {
	case m.q.Type == dns.TypeA:
		m.countAnswer(m.appendAddress(questionName, netip.AddrFrom4([4]byte{127, 0, 0, 1})))
	case m.q.Type == dns.TypeAAAA:
		m.countAnswer(m.appendAddress(questionName, netip.IPv6Loopback()))
	case m.q.Type == dns.TypeNS && apex:
		m.countAnswer(m.appendRecord(questionName, dns.TypeNS, ttl, z.local.ns))
	}
	m.addSOAIfEmpty(&z.local)
}
