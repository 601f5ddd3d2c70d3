package router

import (
	"strconv"

	"github.com/protoduction/micro/router/h1"
)

// writeRequest writes the head for the upstream into x.buf. It writes every field anew: first the client's fields without
// those of its connection, then the router's, so that the client's Connection field can't remove the router's.
func (x *exchange) writeRequest() {
	q, c := &x.req, x.c
	x.upgrade = q.Upgrade && q.Minor == 1 && q.Length <= 0 && !q.Chunked && upgradable(q.Get(h1.Upgrade))
	b := x.buf[:0]
	b = append(b, q.Method...)
	b = append(b, ' ')
	b = append(b, q.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, q.Host...)
	b = append(b, "\r\n"...)
	trace := false
	fields := q.Fields()
	for i := range fields {
		f := &fields[i]
		switch f.Name {
		case h1.Other, h1.Accept, h1.Cookie, h1.Date, h1.Origin, h1.Via:
		case h1.Expect:
			if q.Continue || q.Minor == 0 {
				continue // ours to say
			}
		case h1.Traceparent:
			if trace || !validTrace(q.Value(f)) {
				continue
			}
			trace = true
		case h1.XAuthenticatedUser:
			// A trusted proxy may have asked for the log-in in our stead.
			if !c.trusted || x.user != "" {
				continue
			}
		case h1.XForwarded:
			if !c.trusted {
				continue
			}
		default:
			continue
		}
		if f.Underscore && q.Twin(f) || q.Dropped(f) {
			continue
		}
		if f.Name == h1.Cookie && mayBePrivate(q.Value(f)) {
			b = appendCookies(b, q.NameOf(f), q.Value(f))
			continue
		}
		b = appendField(b, q.NameOf(f), q.Value(f))
	}
	switch {
	case q.Chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case q.Length >= 0:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, q.Length, 10)
		b = append(b, "\r\n"...)
	}
	if q.Continue && (q.Chunked || q.Length > 0) {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	trailers := h1.HasToken(q.Get(h1.TE), "trailers")
	switch {
	case x.upgrade:
		b = append(b, "Connection: Upgrade\r\n"...)
		b = appendField(b, []byte("Upgrade"), q.Get(h1.Upgrade))
	case trailers && x.reuse == byNobody:
		b = append(b, "TE: trailers\r\nConnection: TE, close\r\n"...)
	case trailers:
		b = append(b, "TE: trailers\r\nConnection: TE\r\n"...)
	case x.reuse == byNobody:
		b = append(b, "Connection: close\r\n"...)
	}
	b = x.appendForwarded(b)
	if x.route != nil && x.route.portal {
		b = append(x.Client.Addr().AppendTo(append(b, "X-Micro-Client: "...)), "\r\n"...)
	}
	if x.user != "" {
		b = append(append(append(b, "X-Authenticated-User: "...), x.user...), "\r\n"...)
	}
	if !trace {
		b = x.appendTrace(b)
	}
	x.buf = append(b, "\r\n"...)
}

func appendField(b, name, value []byte) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// upgradable reports whether an upgrade to the protocol is allowed. Cleartext HTTP/2 is not, because its requests would pass
// the router unchecked.
func upgradable(protocol []byte) bool {
	return len(protocol) > 0 && !h1.HasToken(protocol, "h2c") && !h1.HasToken(protocol, "h2")
}

// appendForwarded appends the fields with the client and the original request. A trusted proxy's fields are kept or
// continued; those of other clients have been removed.
func (x *exchange) appendForwarded(b []byte) []byte {
	q, c := &x.req, x.c
	var proto, host, id, start []byte
	b = append(b, "X-Forwarded-For: "...)
	if c.trusted {
		b = appendList(b, q, h1.XForwardedFor)
		proto, host, id, start = q.Get(h1.XForwardedProto), q.Get(h1.XForwardedHost), q.Get(h1.XRequestID), q.Get(h1.XRequestStart)
	}
	b = append(b, c.client...)
	b = append(b, "\r\nX-Forwarded-Proto: "...)
	if len(proto) > 0 {
		b = append(b, proto...)
	} else {
		b = append(b, c.scheme...)
	}
	b = append(b, "\r\nX-Forwarded-Host: "...)
	if len(host) > 0 {
		b = append(b, host...)
	} else {
		b = append(b, q.Host...)
	}
	// RFC 7239.
	b = append(b, "\r\nForwarded: "...)
	if c.trusted {
		b = appendList(b, q, h1.Forwarded)
	}
	b = append(b, c.forwardedFor...)
	b = append(b, ";host=\""...)
	b = append(b, q.Host...)
	b = append(b, "\";proto="...)
	b = append(b, c.scheme...)
	b = append(b, "\r\nX-Request-Id: "...)
	if 0 < len(id) && len(id) <= maxRequestID {
		x.RequestID = id
	} else {
		x.newID()
	}
	b = append(b, x.RequestID...)
	b = append(b, "\r\nX-Request-Start: "...)
	if len(start) > 0 {
		b = append(b, start...)
	} else {
		b = strconv.AppendInt(b, x.Start.UnixMilli(), 10)
	}
	return append(b, "\r\n"...)
}

// maxRequestID bounds a request ID that is taken over, in bytes.
const maxRequestID = 128

// appendList adds the values of all fields of that name, with a comma after each.
func appendList(b []byte, q *h1.Request, n h1.Name) []byte {
	fields := q.Fields()
	for i := range fields {
		if f := &fields[i]; f.Name == n && len(q.Value(f)) > 0 {
			b = append(b, q.Value(f)...)
			b = append(b, ", "...)
		}
	}
	return b
}

// newID returns a new request ID: 128 random bits, which are also the ID of a new trace.
func (x *exchange) newID() {
	r := x.c.r
	b := appendHex(x.id[:0], r.random())
	x.RequestID = appendHex(b, r.random())
}

// appendTrace starts a trace (W3C Trace Context). It is marked as sampled, because by default tracers record only what their
// parent has sampled.
func (x *exchange) appendTrace(b []byte) []byte {
	if len(x.RequestID) != len(x.id) || &x.RequestID[0] != &x.id[0] {
		appendHex(appendHex(x.id[:0], x.c.r.random()), x.c.r.random())
	}
	b = append(b, "Traceparent: 00-"...)
	b = append(b, x.id[:]...)
	b = append(b, '-')
	b = appendHex(b, x.c.r.random()|1)
	return append(b, "-01\r\n"...)
}

func validTrace(v []byte) bool {
	// version "-" trace-id "-" parent-id "-" flags; a later version may have more.
	if len(v) < 55 || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return false
	}
	for i, c := range v[:55] {
		if i != 2 && i != 35 && i != 52 && !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return len(v) == 55 && string(v[:2]) != "ff" || string(v[:2]) != "00" && string(v[:2]) != "ff" && v[55] == '-'
}

func appendHex(b []byte, v uint64) []byte {
	const hex = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hex[v>>shift&15])
	}
	return b
}
