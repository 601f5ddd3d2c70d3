package h1

import "encoding/binary"

const (
	isToken = 1 << iota // tchar, RFC 9110, section 5.6.2
	isHost              // what may stand in a host: reg-name and IP literals, no percent-encoding
)

// class has the character classes of each byte.
var class = func() (t [256]uint8) {
	for c := '0'; c <= '9'; c++ {
		t[c] = isToken | isHost
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-32] = isToken|isHost, isToken|isHost
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= isToken
	}
	for _, c := range "-._~!$&'()*+,;=" {
		t[c] |= isHost
	}
	return t
}()

func token(b []byte) bool {
	for _, c := range b {
		if class[c]&isToken == 0 {
			return false
		}
	}
	return len(b) > 0
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// printable tells that b has no byte below 0x20 and no DEL, tabs apart where tab is true.
// It looks at eight bytes at a time: field values are most of a head.
func printable(b []byte, tab bool) bool {
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7f*ones
		if ((x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 && !printableSlow(b[:8], tab) {
			return false
		}
		b = b[8:]
	}
	return printableSlow(b, tab)
}

func printableSlow(b []byte, tab bool) bool {
	for _, c := range b {
		if c < 0x20 && (c != '\t' || !tab) || c == 0x7f {
			return false
		}
	}
	return true
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// EqualFold tells that b is s, ASCII letters compared without case. s is in lower case.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// HasToken tells that the comma-separated list v has the token s, which is in lower case.
func HasToken(v []byte, s string) bool {
	for t := range Tokens(v) {
		if EqualFold(t, s) {
			return true
		}
	}
	return false
}

// Tokens yields the elements of a comma-separated list, trimmed; empty ones are left out.
func Tokens(v []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(v) > 0 {
			var t []byte
			t, v = cut(v, ',')
			if t = trim(t); len(t) > 0 && !yield(t) {
				return
			}
		}
	}
}

func cut(b []byte, sep byte) (before, after []byte) {
	for i, c := range b {
		if c == sep {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

// number reads a decimal of 1 to 18 digits.
func number(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
