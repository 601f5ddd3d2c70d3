package router

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"
)

// cookieName is the cookie that a client is known again by.
//
// Its value is "ID.TIMETOKEN", in hexadecimal digits: the client's own random ID, when the cookie was made in minutes,
// and which instance answered. The token is the instance's tag, hidden by a pad that only who has the cloud's routing
// secret can make, of the ID and the time. So it says nothing to anybody, one client's does not fit another, and every
// node reads it without having seen the client before.
const cookieName = "micro_sticky"

const (
	idSize     = 2 * 16
	bindSize   = 2*4 + 2*8
	cookieSize = idSize + 1 + bindSize

	// A client is active as long as its cookie is not older than cookieActive minutes; one older than cookieRenew
	// minutes is made anew with the next answer.
	cookieActive = 4
	cookieRenew  = 1
)

// clientCookie is what a client's cookie says.
type clientCookie struct {
	id       [idSize]byte
	sent     bool   // by the client
	bound    uint64 // the instance's tag; 0 for none
	boundAge uint32 // of the binding, in minutes
}

// readCookie reads the client's cookie. Who has none gets an ID.
func (c *choice) readCookie() {
	v := c.cookieValue(cookieName)
	c.clientCookie = clientCookie{}
	if len(v) != idSize && (len(v) != cookieSize || v[idSize] != '.') {
		appendHex(appendHex(c.id[:0], c.r.random()), c.r.random())
		return
	}
	c.sent = true
	copy(c.id[:], v)
	var raw [bindSize / 2]byte
	if len(v) == idSize {
		return
	}
	if _, err := hex.Decode(raw[:], v[idSize+1:]); err != nil {
		return
	}
	made, now := binary.BigEndian.Uint32(raw[:]), minutes(time.Now())
	if made > now {
		return // nobody made it yet
	}
	c.boundAge = now - made
	c.bound = binary.BigEndian.Uint64(raw[4:]) ^ c.pad(made)
}

// cookieDue tells that the client is to get a cookie with the answer.
func (c *choice) cookieDue() bool {
	return !c.sent || c.bound != c.endpoint.tag || c.boundAge > cookieRenew
}

// appendCookie adds the client's cookie, for 30 days.
func (c *choice) appendCookie(b []byte) []byte {
	made := minutes(time.Now())
	b = append(append(b, cookieName+"="...), c.id[:]...)
	b = append(b, '.')
	var raw [bindSize / 2]byte
	binary.BigEndian.PutUint32(raw[:], made)
	binary.BigEndian.PutUint64(raw[4:], c.endpoint.tag^c.pad(made))
	b = hex.AppendEncode(b, raw[:])
	b = append(b, "; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"...)
	if c.from.scheme == "https" {
		b = append(b, "; Secure"...)
	}
	return b
}

func minutes(t time.Time) uint32 { return uint32(t.Unix() / 60) }

// pad hides the tag in a cookie of that time.
func (c *choice) pad(made uint32) uint64 {
	var room [128]byte
	b := append(room[:0], "sticky cookie\x00"...)
	b = append(append(b, c.r.passKey...), c.id[:]...)
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(b, made))
	return binary.BigEndian.Uint64(sum[:])
}

// tagOf is what an instance is known by in cookies: never 0, and secret, for IDs of instances are not.
func tagOf(secret []byte, e *Endpoint) uint64 {
	b := append([]byte("sticky tag\x00"), strconv.Itoa(len(secret))...)
	sum := sha256.Sum256(append(append(append(b, 0), secret...), e.ID...))
	return binary.BigEndian.Uint64(sum[:]) | 1
}
