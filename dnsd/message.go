package dnsd

import (
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/miekg/dns"
)

// message is an answer being written. It never grows beyond its limit: records that don't fit are left out.
type message struct {
	b     []byte
	q     *Query
	limit int // in bytes, without the OPT record that finish adds
	flags uint16
	rcode int
	info  int // extended error (RFC 8914); -1 for none

	answers, authorities, additional uint16
}

// questionName is the offset of the question's name, the owner of most records.
const questionName = headerLen

func newMessage(b []byte, q *Query) message {
	limit := minUDP
	switch {
	case q.Stream:
		limit = math.MaxUint16
	case q.EDNS:
		limit = min(int(q.Size), maxUDP)
	}
	if q.EDNS {
		limit -= optLen
	}
	if len(q.answerCookie) > 0 {
		limit -= 4 + len(q.answerCookie)
	}
	m := message{b: append(b[:0], q.msg[:q.end]...), q: q, limit: limit, info: -1, rcode: q.rcode}
	m.flags = flagQR | q.Flags&(maskOpcode|flagRD|flagCD)
	return m
}

const optLen = 11 + 6 // with an extended error

// finish writes the OPT record and the header.
func (m *message) finish() []byte {
	if m.q.EDNS {
		var do uint16
		if m.q.DO {
			do = 1 << 15
		}
		length := 0
		if m.info >= 0 {
			length += 6
		}
		if len(m.q.answerCookie) > 0 {
			length += 4 + len(m.q.answerCookie)
		}
		m.b = append(m.b, 0, 0, byte(dns.TypeOPT), maxUDP>>8, maxUDP&0xff, byte(m.rcode>>4), 0, byte(do>>8), 0, 0, byte(length))
		if m.info >= 0 {
			m.b = append(m.b, 0, byte(dns.EDNS0EDE), 0, 2, byte(m.info>>8), byte(m.info))
		}
		if len(m.q.answerCookie) > 0 {
			m.b = append(append(m.b, 0, optionCookie, 0, byte(len(m.q.answerCookie))), m.q.answerCookie...)
		}
		m.additional++
	}
	m.q.sent = m.rcode
	h := m.b[:headerLen]
	binary.BigEndian.PutUint16(h, m.q.ID)
	binary.BigEndian.PutUint16(h[2:], m.flags|uint16(m.rcode&0xf))
	var questions uint16
	if m.q.end > headerLen {
		questions = 1
	}
	binary.BigEndian.PutUint16(h[4:], questions)
	binary.BigEndian.PutUint16(h[6:], m.answers)
	binary.BigEndian.PutUint16(h[8:], m.authorities)
	binary.BigEndian.PutUint16(h[10:], m.additional)
	return m.b
}

// appendRecord appends a record whose owner name is at an offset of the message. It returns false if the
// record does not fit.
func (m *message) appendRecord(owner int, rtype uint16, ttl uint32, rdata ...[]byte) bool {
	length := 0
	for _, part := range rdata {
		length += len(part)
	}
	if len(m.b)+12+length > m.limit {
		return false
	}
	m.b = append(m.b, byte(0xc0|owner>>8), byte(owner), byte(rtype>>8), byte(rtype), 0, dns.ClassINET,
		byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), byte(length>>8), byte(length))
	for _, part := range rdata {
		m.b = append(m.b, part...)
	}
	return true
}

func (m *message) appendAddress(owner int, a netip.Addr) bool {
	if a.Is4() {
		bytes := a.As4()
		return m.appendRecord(owner, dns.TypeA, ttl, bytes[:])
	}
	bytes := a.As16()
	return m.appendRecord(owner, dns.TypeAAAA, ttl, bytes[:])
}

// countAnswer counts a record of the answer section. If it did not fit, the TC flag tells the client to ask
// by TCP. The records that did fit stay, for resolvers without TCP (musl before 1.2.4).
func (m *message) countAnswer(fits bool) bool {
	if fits {
		m.answers++
	} else {
		m.flags |= flagTC
	}
	return fits
}

// appendSOA adds the zone's SOA to the authority section. Its last field is how long the client may cache the
// negative answer (RFC 2308, sections 3 and 5).
func (m *message) appendSOA(a *authority) {
	if m.appendRecord(m.originOffset(a), dns.TypeSOA, a.negative, a.soa) {
		m.authorities++
	}
}

// originOffset returns the offset of the zone's name, which is the end of the question's name.
func (m *message) originOffset(a *authority) int {
	return questionName + m.q.nameLen - len(a.origin)
}
