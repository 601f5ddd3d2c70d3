package h1

import "bytes"

// Request is a request's head.
type Request struct {
	Head
	Method []byte
	// Target is what to forward in origin form ("/path?query") or "*": the authority of an absolute
	// URI is in Host instead.
	Target []byte
	// Host is the authority that the request is for, as it came: the absolute URI's, else Host's.
	Host []byte
	// Idempotent: sent twice it does no more than sent once (RFC 9110, section 9.2.2).
	Idempotent bool
	NoBody     bool // the method is HEAD: the response has no body
	Continue   bool // Expect: 100-continue
}

var slash, asterisk = []byte("/"), []byte("*")

// Parse reads a whole head, which ends in CRLF CRLF and has at most MaxHead bytes.
func (r *Request) Parse(b []byte) error {
	l, next, err := line(b, 0)
	if err != nil {
		return err
	}
	if err := r.startLine(l); err != nil {
		return err
	}
	if err := r.Head.parse(b, next); err != nil {
		return err
	}
	if r.Minor == 0 {
		if r.Chunked {
			return ErrEncoding
		}
		r.Close = r.Close || !r.KeepAlive
	}
	hosts := 0
	r.Continue = false
	for i := range r.Fields() {
		f := &r.fields[i]
		switch f.Name {
		case Host:
			hosts++
			if r.Host == nil {
				r.Host = r.Value(f)
			} else if !validHost(r.Value(f)) {
				return ErrHost
			}
		case Expect:
			r.Continue = r.Minor == 1 && EqualFold(r.Value(f), "100-continue")
		}
	}
	if hosts != 1 || !validHost(r.Host) {
		return ErrHost
	}
	return nil
}

func (r *Request) startLine(l []byte) error {
	const version = " HTTP/1.1"
	if bytes.IndexByte(l, '\r') >= 0 {
		return ErrBareCR
	}
	sp := bytes.IndexByte(l, ' ')
	if sp < 1 || !token(l[:sp]) || len(l) < sp+1+1+len(version) {
		return ErrLine
	}
	end := len(l) - len(version)
	v := l[end:]
	if string(v[:6]) != " HTTP/" || v[6] < '0' || v[6] > '9' || v[7] != '.' || v[8] < '0' || v[8] > '9' {
		return ErrLine
	}
	if v[6] != '1' || v[8] > '1' {
		return ErrVersion
	}
	r.Minor = v[8] - '0'
	r.Method = l[:sp]
	r.Idempotent, r.NoBody = false, false
	switch string(r.Method) {
	case "GET", "PUT", "DELETE", "OPTIONS":
		r.Idempotent = true
	case "HEAD":
		r.Idempotent, r.NoBody = true, true
	case "TRACE", "CONNECT":
		return ErrMethod
	}
	return r.target(l[sp+1 : end])
}

func (r *Request) target(t []byte) error {
	if len(t) == 0 || !printable(t, false) || bytes.IndexByte(t, ' ') >= 0 || bytes.IndexByte(t, '#') >= 0 {
		return ErrTarget
	}
	r.Host = nil
	if t[0] == '/' {
		r.Target = t
		return nil
	}
	options := string(r.Method) == "OPTIONS"
	if len(t) == 1 && t[0] == '*' && options {
		r.Target = t
		return nil
	}
	// Absolute form: the authority wins over Host (RFC 9112, section 3.2.2).
	var rest []byte
	switch {
	case len(t) > 7 && EqualFold(t[:7], "http://"):
		rest = t[7:]
	case len(t) > 8 && EqualFold(t[:8], "https://"):
		rest = t[8:]
	default:
		return ErrTarget
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	r.Host = rest[:end]
	if !validHost(r.Host) {
		return ErrTarget
	}
	switch r.Target = rest[end:]; {
	case len(r.Target) == 0 && options:
		r.Target = asterisk
	case len(r.Target) == 0:
		r.Target = slash
	case r.Target[0] == '?':
		// Written in full it would need a '/' in front, which is not in the buffer. Nobody sends it.
		return ErrTarget
	}
	return nil
}

// validHost tells that h is a host with an optional port: a name, an IPv4 address or an IPv6 address in brackets.
func validHost(h []byte) bool {
	name, port := h, []byte(nil)
	if len(h) > 0 && h[0] == '[' {
		i := bytes.IndexByte(h, ']')
		if i < 3 {
			return false
		}
		for _, c := range h[1:i] {
			if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' || c == ':' || c == '.') {
				return false
			}
		}
		if rest := h[i+1:]; len(rest) > 0 {
			if rest[0] != ':' {
				return false
			}
			port = rest[1:]
		}
		return digits(port)
	}
	if before, after, ok := bytes.Cut(h, []byte{':'}); ok {
		name, port = before, after
	}
	if len(name) == 0 || len(name) > 255 {
		return false
	}
	for _, c := range name {
		if class[c]&isHost == 0 {
			return false
		}
	}
	return digits(port)
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) <= 5
}

// HostName returns the host of an authority without its port, an IPv6 address without its brackets.
func HostName(authority []byte) []byte {
	if len(authority) > 0 && authority[0] == '[' {
		return authority[1:bytes.IndexByte(authority, ']')]
	}
	if before, _, ok := bytes.Cut(authority, []byte{':'}); ok {
		return before
	}
	return authority
}
