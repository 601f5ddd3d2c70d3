package dnsd

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"time"
)

// DNS cookies (RFC 7873, RFC 9018) let a client prove that it receives what is sent to its address. Such a
// client can't use the server to flood another host, so its answers are not limited.

const (
	optionCookie    = 10
	clientCookieLen = 8
	serverCookieLen = 16 // version, three reserved bytes, time, hash
	cookieMax       = time.Hour
	cookieSkew      = 5 * time.Minute // of a clock that was set back
)

// cookies issues and verifies server cookies. Each process has its own secret: a client with a cookie of an
// earlier process gets a new one with its answer.
type cookies struct{ secret [16]byte }

func newCookies() *cookies {
	c := &cookies{}
	rand.Read(c.secret[:]) // it never fails
	return c
}

// issue appends the server cookie for a client (RFC 9018, section 4.3).
func (c *cookies) issue(b []byte, client []byte, addr netip.Addr, now time.Time) []byte {
	b = append(b, 1, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(now.Unix()))
	return binary.LittleEndian.AppendUint64(b, c.hash(client, b[len(b)-8:], addr))
}

// valid reports whether a server cookie was issued to the client within the last hour.
func (c *cookies) valid(server, client []byte, addr netip.Addr, now time.Time) bool {
	if len(server) != serverCookieLen || server[0] != 1 {
		return false
	}
	age := time.Duration(int32(uint32(now.Unix())-binary.BigEndian.Uint32(server[4:]))) * time.Second
	return -cookieSkew <= age && age <= cookieMax && c.hash(client, server[:8], addr) == binary.LittleEndian.Uint64(server[8:])
}

// hash returns the hash of RFC 9018, section 4.4: over client cookie, version, reserved bytes, time and address.
func (c *cookies) hash(client, head []byte, addr netip.Addr) uint64 {
	var room [clientCookieLen + 8 + 16]byte
	msg := append(append(room[:0], client...), head...)
	if addr = addr.Unmap(); addr.Is4() {
		ip := addr.As4()
		msg = append(msg, ip[:]...)
	} else {
		ip := addr.As16()
		msg = append(msg, ip[:]...)
	}
	return sipHash24(c.secret, msg)
}

// checkCookie verifies the query's cookie, if it has one, and sets the cookie of the answer. It reports
// whether the client has proved its address.
func (s *Server) checkCookie(q *Query, addr netip.Addr) bool {
	if len(q.cookie) == 0 {
		return false
	}
	now := s.limit.now()
	client, server := q.cookie[:clientCookieLen], q.cookie[clientCookieLen:]
	q.answerCookie = s.cookies.issue(append(q.cookieRoom[:0], client...), client, addr, now)
	return s.cookies.valid(server, client, addr, now)
}
