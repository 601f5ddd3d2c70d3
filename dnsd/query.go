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
	// maxUDP is the largest answer sent by UDP, and the size offered to upstreams: it passes every link
	// without fragments (DNS Flag Day 2020).
	maxUDP = 1232
	minUDP = 512 // largest answer for a client without EDNS (RFC 1035, section 4.2.1)
)

// Query is a message parsed by Parse. It refers to the message's bytes. A Query may be parsed into again.
type Query struct {
	ID    uint16
	Flags uint16 // as received
	Type  uint16
	Class uint16

	EDNS    bool
	Version uint8  // of EDNS
	Size    uint16 // largest UDP answer that the client accepts, at least 512
	DO      bool

	Stream bool   // received by TCP, set by the caller: the answer may have 65,535 bytes
	Turn   uint32 // which of several addresses comes first, set by the caller: a counter or random

	cookie       []byte // as received: the client's 8 bytes, then the cookie that it last got from a server
	answerCookie []byte // for the answer, set by the caller; nil for none
	cookieRoom   [clientCookieLen + serverCookieLen]byte

	rcode   int // the fault that Parse found, or dns.RcodeSuccess
	sent    int // the answer's rcode, set when it is written
	msg     []byte
	end     int // end of the question in msg; headerLen if there is no valid question
	nameLen int
	name    [maxName]byte // of the question, wire form, lower case
}

// Name is the name asked for, in wire form and lower case.
func (q *Query) Name() []byte { return q.name[:q.nameLen] }

// turn returns the index of the i-th of n items, in an order rotated by q.Turn.
func (q *Query) turn(i, n int) int { return (int(q.Turn%uint32(n)) + i) % n }

// Parse parses a message. It returns false if the message must not be answered at all: it is too short for a
// header, or is itself an answer, and two servers would answer each other for ever. It returns true for
// malformed messages, unknown opcodes and unknown EDNS versions, which Zone.Answer answers with an error.
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
		q.records(skipQuestions(msg)) // a query with an OPT record gets an answer with one
	case binary.BigEndian.Uint16(msg[4:]) != 1:
		if wellFormed := q.records(skipQuestions(msg)); !wellFormed || !q.asksForCookie() {
			q.rcode = dns.RcodeFormatError
		}
	case !q.question() || !q.records(q.end):
		q.rcode = dns.RcodeFormatError
	}
	return true
}

// asksForCookie reports whether the message has no question and asks only for a cookie (RFC 7873, section 5.4).
func (q *Query) asksForCookie() bool {
	return binary.BigEndian.Uint16(q.msg[4:]) == 0 && len(q.cookie) > 0
}

// question parses the only question. Its name can't be compressed: a pointer would point into the header.
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

// records parses the OPT record (RFC 6891, section 6.1) and skips all others. They begin at offset i. It
// returns false unless they are well formed and end at the message's end.
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

// skipQuestions returns the offset behind all questions, or the message's length if a question is malformed.
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

// options parses the options of the OPT record and keeps the first cookie.
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
