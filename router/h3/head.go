package h3

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/protoduction/micro/router/h1"
	"github.com/protoduction/micro/router/h2"
)

// appendHead appends the head of a request in HTTP/1.1, which the core parses. The library has checked names, values and
// the fields that only HTTP/3 has. chunked says that the core gets the body in chunks, and length is its size otherwise,
// -1 for no body.
func appendHead(b []byte, r *http.Request, chunked bool, length int64, most int) ([]byte, *h1.Error) {
	method, target, host := r.Method, r.RequestURI, r.Host
	switch {
	case asksForWebSocket(r):
		method = http.MethodGet // the upgrade of HTTP/1.1 that stands for it
	case r.Method == http.MethodConnect && r.Proto == "HTTP/3.0":
		target = "/" // there is no such way through the router; the core says so
	case r.Method == http.MethodConnect:
		return b, errProtocol
	}
	// What could be read as another word or line.
	if strings.ContainsFunc(target, unfit) || strings.ContainsFunc(host, unfit) || strings.ContainsFunc(method, unfit) {
		return b, h1.ErrTarget
	}
	b = append(append(append(append(b, method...), ' '), target...), " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", host)
	for name, values := range r.Header {
		switch name {
		case "Host", "Content-Length":
			continue
		case "Sec-Websocket-Key":
			if asksForWebSocket(r) {
				continue // it has none by HTTP/3; the app gets one of ours
			}
		}
		for _, v := range values {
			b = appendField(b, name, v)
		}
		if len(b) > most {
			return b, h1.ErrTooLarge
		}
	}
	if len(r.Trailer) > 0 { // the library has taken their names out of the fields
		names := make([]string, 0, len(r.Trailer))
		for name := range r.Trailer {
			names = append(names, name)
		}
		b = appendField(b, "Trailer", strings.Join(names, ", "))
	}
	switch {
	case asksForWebSocket(r):
		b = h2.AppendUpgrade(b)
	case chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case length >= 0 || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch:
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, max(length, 0), 10), "\r\n"...)
	}
	b = append(b, "\r\n"...)
	if len(b) > most {
		return b, h1.ErrTooLarge
	}
	return b, nil
}

// errProtocol is told to a client that wants to speak something else on a stream.
var errProtocol = &h1.Error{Status: 501, Reason: "only websocket is spoken on a stream"}

// asksForWebSocket reports whether a request opens a WebSocket on its stream (RFC 9220). The library puts the protocol of
// an extended CONNECT in the place of the version.
func asksForWebSocket(r *http.Request) bool {
	return r.Method == http.MethodConnect && r.Proto == "websocket"
}

func appendField(b []byte, name, value string) []byte {
	return append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
}

func unfit(c rune) bool { return c <= ' ' || c == 0x7f }

// maxTrailer bounds the trailers of a request in bytes; what is more is left out by whole fields.
const maxTrailer = 8 << 10

// appendTrailer appends the trailers behind a body as lines.
func appendTrailer(b []byte, trailer http.Header) []byte {
	start := len(b)
	for name, values := range trailer {
		for _, v := range values {
			if len(b)-start+len(name)+len(v)+4 <= maxTrailer {
				b = appendField(b, name, v)
			}
		}
	}
	return b
}
