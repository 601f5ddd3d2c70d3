package h2

import (
	"crypto/rand"
	"encoding/base64"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/protoduction/micro/router/h1"
)

// head turns the fields of a request into a head of HTTP/1.1. It checks what only HTTP/2 asks for, and what could be
// read as another line; the core's parser checks all else.
type head struct {
	most int // bytes of the text

	text     []byte
	cookie   []byte // HTTP/2 may split it (RFC 9113, section 8.2.3)
	method   string
	scheme   string
	host     string // the authority, or what stands in Host
	path     string
	protocol string // of an extended CONNECT (RFC 8441)
	length   int64  // Content-Length, -1 for none
	size     int
	started  bool // the request's line is written
	trailers bool // it announces trailers
	invalid  bool
	large    bool
}

func (h *head) reset(most int) {
	*h = head{most: most, text: h.text[:0], cookie: h.cookie[:0], length: -1}
}

// fieldCost is what a field counts for, besides its own bytes (RFC 9113, section 6.5.2).
const fieldCost = 32

// add adds a field.
func (h *head) add(f hpack.HeaderField) {
	if h.invalid {
		return
	}
	// Fields behind the limit are not kept.
	if h.size += len(f.Name) + len(f.Value) + fieldCost; h.size > 2*h.most {
		h.large = true
		return
	}
	if !validValue(f.Value) {
		h.invalid = true
		return
	}
	if len(f.Name) > 0 && f.Name[0] == ':' {
		h.pseudo(f.Name, f.Value)
		return
	}
	if !validName(f.Name) {
		h.invalid = true
		return
	}
	h.begin()
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		h.invalid = true // RFC 9113, section 8.2.2
		return
	case "te":
		if f.Value != "trailers" {
			h.invalid = true
			return
		}
	case "host":
		// One that differs from the authority is somebody's mistake or somebody's trick.
		if h.host != "" && !strings.EqualFold(h.host, f.Value) || f.Value == "" || strings.Contains(f.Value, " ") {
			h.invalid = true
		}
		h.host = f.Value
		return
	case "content-length":
		n, err := strconv.ParseUint(f.Value, 10, 59)
		if err != nil || h.length >= 0 {
			h.invalid = true
		}
		h.length = int64(n)
		return
	case "cookie":
		if len(h.cookie) > 0 {
			h.cookie = append(h.cookie, "; "...)
		}
		h.cookie = append(h.cookie, f.Value...)
		return
	case "trailer":
		h.trailers = true
	case "sec-websocket-key":
		if h.protocol != "" {
			return // it has none by HTTP/2; the app gets one of ours
		}
	}
	h.line(f.Name, f.Value)
}

func (h *head) line(name, value string) {
	h.text = append(append(append(append(h.text, name...), ": "...), value...), "\r\n"...)
}

// pseudo adds a pseudo-header field. They stand before all others, each once.
func (h *head) pseudo(name, value string) {
	to := &h.protocol
	switch name {
	case ":method":
		to = &h.method
	case ":scheme":
		to = &h.scheme
	case ":authority":
		to = &h.host
	case ":path":
		to = &h.path
	case ":protocol":
	default:
		h.invalid = true
	}
	if h.started || *to != "" || value == "" || strings.Contains(value, " ") {
		h.invalid = true
		return
	}
	*to = value
}

// begin writes the request's line, once the pseudo-header fields are known.
func (h *head) begin() {
	if h.started {
		return
	}
	h.started = true
	method, path := h.method, h.path
	switch {
	case h.method == "CONNECT" && h.protocol == "":
		// There is no such way through the router; the core says so.
		if h.scheme != "" || h.path != "" {
			h.invalid = true
		}
		path = "/"
	case h.scheme != "http" && h.scheme != "https",
		path == "" || path[0] != '/' && (path != "*" || method != "OPTIONS"):
		h.invalid = true
	case h.protocol != "":
		if h.method != "CONNECT" {
			h.invalid = true
		}
		method = "GET" // the upgrade of HTTP/1.1 that stands for it
	}
	if !validMethod(h.method) {
		h.invalid = true
	}
	h.text = append(append(append(append(h.text, method...), ' '), path...), " HTTP/1.1\r\n"...)
}

// end finishes the head of a request that has a body, or none. It returns why the core can't be asked, nil for nothing.
func (h *head) end(body bool) *h1.Error {
	h.begin()
	if h.invalid || h.host == "" {
		h.invalid = true
		return nil
	}
	connect := h.method == "CONNECT"
	if !body && h.length > 0 {
		h.invalid = true
		return nil
	}
	h.line("Host", h.host)
	if len(h.cookie) > 0 {
		h.text = append(append(append(h.text, "Cookie: "...), h.cookie...), "\r\n"...)
	}
	switch {
	case connect:
		if h.webSocket() {
			h.text = AppendUpgrade(h.text)
		}
	case body && (h.length < 0 || h.trailers):
		// HTTP/1.1 has trailers behind chunks alone. An app reads those that are announced.
		h.text = append(h.text, "Transfer-Encoding: chunked\r\n"...)
	case body || h.length >= 0 || h.method == "POST" || h.method == "PUT" || h.method == "PATCH":
		h.text = append(h.text, "Content-Length: "...)
		h.text = strconv.AppendInt(h.text, max(h.length, 0), 10)
		h.text = append(h.text, "\r\n"...)
	}
	h.text = append(h.text, "\r\n"...)
	switch {
	case h.large || len(h.text) > h.most:
		return h1.ErrTooLarge
	case connect && h.protocol != "" && h.protocol != "websocket":
		return errProtocol
	}
	return nil
}

// errProtocol is told to a client that wants to speak something else on a stream.
var errProtocol = &h1.Error{Status: 501, Reason: "only websocket is spoken on a stream"}

// AppendUpgrade appends the fields of a WebSocket's handshake that HTTP/1.1 has, and HTTP/2 and HTTP/3 leave out (RFC 8441,
// section 5).
func AppendUpgrade(b []byte) []byte {
	var key [16]byte
	_, _ = rand.Read(key[:]) // it never fails
	b = append(b, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: "...)
	return append(base64.StdEncoding.AppendEncode(b, key[:]), "\r\n"...)
}

// chunked tells that a request's body reaches the core in chunks.
func (h *head) chunked() bool { return h.method != "CONNECT" && (h.length < 0 || h.trailers) }

// webSocket tells that the stream is to become a WebSocket.
func (h *head) webSocket() bool { return h.protocol == "websocket" }

// lower has the bytes that a field's name may have: those of a token without capital letters.
var lower = func() (t [256]bool) {
	for c := 'a'; c <= 'z'; c++ {
		t[c] = true
	}
	for _, c := range "0123456789!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

func validName(s string) bool {
	for i := range len(s) {
		if !lower[s[i]] {
			return false
		}
	}
	return s != ""
}

func validMethod(s string) bool {
	for i := range len(s) {
		if c := s[i]; !lower[c] && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != ""
}

// validValue tells that nobody could take a value for more than that (RFC 9113, section 8.2.1).
func validValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// trailer turns the fields behind a body into lines of HTTP/1.1.
type trailer struct {
	text    []byte
	invalid bool
}

// maxTrailer bounds the trailers of a request in bytes; what is more is left out by whole fields.
const maxTrailer = 8 << 10

func (t *trailer) add(f hpack.HeaderField) {
	switch {
	case !validName(f.Name) || !validValue(f.Value):
		t.invalid = true
	case len(t.text)+len(f.Name)+len(f.Value)+4 <= maxTrailer:
		t.text = append(append(append(append(t.text, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
}
