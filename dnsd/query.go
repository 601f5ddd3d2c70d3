package dnsd

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// Bits of the header's second word (RFC 1035, section 4.1.1; RFC 4035, section 3.2.2).
const (
	flagQR     = 1 << 15
	maskOpcode = 0xf << 11
	flagAA     = 1 << 10
	flagTC     = 1 << 9
	flagRD     = 1 << 8
	flagRA     = 1 << 7
	flagCD     = 1 << 4
)

const (
	headerLen = 12
	// maxUDP is the largest answer sent by UDP, and the size that we offer: what passes every link
	// without fragments (DNS Flag Day 2020).
	maxUDP = 1232
	minUDP = 512 // what a client without EDNS takes (RFC 1035, section 4.2.1)
)

// Query is a message as read by Parse. It keeps hold of the message; both may be used again.
type Query struct {
	ID    uint16
	Flags uint16 // as they came
	Type  uint16
	Class uint16

	EDNS    bool
	Version uint8  // of EDNS
	Size    uint16 // of the largest UDP answer that the client takes, at least 512
	DO      bool

	Stream bool   // came by TCP: set by the caller; the answer may have 65,535 bytes
	Turn   uint32 // which address of several stands first: set by the caller, counting or random

	cookie       []byte // as it came: the client's 8 bytes, and what it last got from a server
	answerCookie []byte // for the answer: set by the caller, nil for none
	cookieRoom   [clientCookieLen + serverCookieLen]byte

	rcode   int // what Parse found wrong, or dns.RcodeSuccess
	sent    int // the answer's rcode, once it is written
	msg     []byte
	end     int // of the question in msg; headerLen where none could be read
	nameLen int
	name    [maxName]byte // of the question, wire form, lower case
}

// Name is the name asked for, in wire form and lower case.
func (q *Query) Name() []byte { return q.name[:q.nameLen] }

// turn is the index of the i-th of n things, with another one first each time.
func (q *Query) turn(i, n int) int { return (int(q.Turn%uint32(n)) + i) % n }

// Parse reads a message. False means that it must not be answered at all: it is too short to have a
// header, or itself an answer (two servers would talk for ever). What is malformed, of another opcode or
// of another EDNS version parses: Zone.Answer says so to the client.
func (q *Query) Parse(msg []byte) bool {
	if len(msg) < headerLen {
		return false
	}
	q.msg, q.end, q.nameLen, q.rcode = msg, headerLen, 0, dns.RcodeSuccess
	q.ID, q.Flags = binary.BigEndian.Uint16(msg), binary.BigEndian.Uint16(msg[2:])
	q.Type, q.Class = 0, 0
	q.EDNS, q.Version, q.Size, q.DO, q.cookie, q.answerCookie = false, 0, minUDP, false, nil, nil
	if q.Flags&flagQR != 0 {
		return false
	}
	switch {
	case q.Flags&maskOpcode != 0:
		q.rcode = dns.RcodeNotImplemented
		q.records(skipQuestions(msg)) // an OPT record there is answered with one, whatever the rest means
	case binary.BigEndian.Uint16(msg[4:]) != 1:
		if wellFormed := q.records(skipQuestions(msg)); !wellFormed || !q.asksForCookie() {
			q.rcode = dns.RcodeFormatError
		}
	case !q.question() || !q.records(q.end):
		q.rcode = dns.RcodeFormatError
	}
	return true
}

// asksForCookie reports whether the message has no question and wants a cookie alone (RFC 7873, section 5.4).
func (q *Query) asksForCookie() bool {
	return binary.BigEndian.Uint16(q.msg[4:]) == 0 && len(q.cookie) > 0
}

// question reads the one question. A compressed name can't stand there: it would point into the header.
func (q *Query) question() bool {
	msg, i := q.msg, headerLen
	for {
		if i >= len(msg) {
			return false
		}
		n := int(msg[i])
		if n > 63 || q.nameLen+n+1 > maxName || i+n+1 > len(msg) {
			return false
		}
		q.name[q.nameLen] = byte(n)
		for j, c := range msg[i+1 : i+1+n] {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			q.name[q.nameLen+1+j] = c
		}
		q.nameLen += n + 1
		i += n + 1
		if n == 0 {
			break
		}
	}
	if i+4 > len(msg) {
		q.nameLen = 0
		return false
	}
	q.Type, q.Class = binary.BigEndian.Uint16(msg[i:]), binary.BigEndian.Uint16(msg[i+2:])
	q.end = i + 4
	return true
}

// records walks what follows the question, from i up to the message's very end, and reads the one OPT
// record (RFC 6891, section 6.1); everything else there has no meaning for us.
func (q *Query) records(i int) bool {
	msg := q.msg
	answers, authorities := int(binary.BigEndian.Uint16(msg[6:])), int(binary.BigEndian.Uint16(msg[8:]))
	additional := int(binary.BigEndian.Uint16(msg[10:]))
	for n := range answers + authorities + additional {
		owner := i
		if i = skipName(msg, i); i < 0 || i+10 > len(msg) {
			return false
		}
		length := int(binary.BigEndian.Uint16(msg[i+8:]))
		if i+10+length > len(msg) {
			return false
		}
		if binary.BigEndian.Uint16(msg[i:]) == dns.TypeOPT {
			if q.EDNS || n < answers+authorities || msg[owner] != 0 || !q.options(msg[i+10:i+10+length]) {
				return false
			}
			q.EDNS = true
			q.Size = max(binary.BigEndian.Uint16(msg[i+2:]), minUDP)
			q.Version = msg[i+5]
			q.DO = msg[i+6]&0x80 != 0
		}
		i += 10 + length
	}
	return i == len(msg)
}

// skipQuestions returns the offset behind all questions, however many: the message's end where they go beyond.
func skipQuestions(msg []byte) int {
	i := headerLen
	for range binary.BigEndian.Uint16(msg[4:]) {
		if i = skipName(msg, i); i < 0 || i+4 > len(msg) {
			return len(msg)
		}
		i += 4
	}
	return i
}

// skipName returns the offset behind the name at i, or -1.
func skipName(msg []byte, i int) int {
	for i < len(msg) {
		switch n := int(msg[i]); {
		case n == 0:
			return i + 1
		case n >= 0xc0:
			return i + 2
		case n > 63:
			return -1
		default:
			i += n + 1
		}
	}
	return -1
}

// options reads the options of the OPT record, and keeps the first cookie.
func (q *Query) options(options []byte) bool {
	for len(options) > 0 {
		if len(options) < 4 {
			return false
		}
		n := 4 + int(binary.BigEndian.Uint16(options[2:]))
		if n > len(options) {
			return false
		}
		if binary.BigEndian.Uint16(options) == optionCookie && len(q.cookie) == 0 {
			q.cookie = options[4:n]
			if length := len(q.cookie); length != clientCookieLen && (length < clientCookieLen+8 || length > clientCookieLen+32) {
				q.cookie = nil
				return false // RFC 7873, section 5.2.2
			}
		}
		options = options[n:]
	}
	return true
}
