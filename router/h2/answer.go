package h2

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/net/http2"

	"github.com/protoduction/micro/router/h1"
)

// answer is what goes to the client: the core writes it in HTTP/1.1, a whole head at a time.
type answer struct {
	part      part
	send      int64 // window
	left      int64 // bytes of a body of known length that are to come
	chunks    h1.Chunks
	noBody    bool   // the request is HEAD
	webSocket bool   // the stream may become one
	host      string // that the request is for
	sent      bool   // the whole answer is in the output
	taken     atomic.Uint64
}

// part is what of an answer comes next.
type part uint8

const (
	partHead part = iota
	partLength
	partChunks
	partBytes // of another protocol
)

// begin makes a the answer to a new request.
func (a *answer) begin(window int64, h *head) {
	a.part, a.send, a.left = partHead, window, 0
	a.noBody, a.webSocket, a.host, a.sent = h.method == "HEAD", h.webSocket(), h.host, false
	a.chunks.Reset()
}

// errAnswer says that the core wrote no answer of HTTP/1.1.
var errAnswer = errors.New("the answer is not valid")

// Write sends what the core writes of its answer. It uses b's memory.
func (s *Stream) Write(b []byte) (n int, err error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	defer s.c.flush()
	for n < len(b) && err == nil && !s.sent {
		var k int
		switch s.part {
		case partHead:
			k, err = s.writeHead(b[n:])
		case partLength:
			k = int(min(s.left, int64(len(b)-n)))
			s.left -= int64(k)
			err = s.writeData(b[n:n+k], s.left == 0)
		case partChunks:
			k, err = s.writeChunks(b[n:])
		case partBytes:
			k = len(b) - n
			err = s.writeData(b[n:], false)
		}
		n += k
	}
	return n, err
}

// CloseWrite ends what is sent on a stream of another protocol.
func (s *Stream) CloseWrite() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.part != partBytes || s.sent {
		return nil
	}
	err := s.endWith(nil)
	s.c.flush()
	return err
}

// state returns why nothing can be sent, nil for nothing. mu is held.
func (s *Stream) state() error {
	switch {
	case s.gone || s.c.ended:
		return net.ErrClosed
	case s.writeOver:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// writeHead sends the head that b begins with, and returns its size. mu is held.
func (s *Stream) writeHead(b []byte) (int, error) {
	if err := s.state(); err != nil {
		return 0, err
	}
	size := bytes.Index(b, []byte("\r\n\r\n")) + 4
	line, rest, _ := bytes.Cut(b[:max(size-2, 0)], []byte("\r\n"))
	if size < 4 || len(line) < len("HTTP/1.1 200") {
		return 0, errAnswer
	}
	c := s.c
	status := line[9:12]
	upgraded := string(status) == "101"
	if upgraded {
		if !s.webSocket {
			return 0, errAnswer
		}
		status = []byte("200")
	}
	var room [3]byte
	status = append(room[:0], status...)
	if string(status) == "404" && Misdirected(b[:size], s.host, c.ServerName) {
		status = append(room[:0], "421"...)
	}
	c.field(statusName, status, true)
	chunked, length := false, int64(-1)
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		colon := bytes.IndexByte(line, ':')
		if colon < 0 || len(line) < colon+2 {
			c.Cut() // the client's table of fields is another now
			return 0, errAnswer
		}
		name, value := line[:colon], line[colon+2:]
		remember := true
		switch h1.NameOf(name) {
		case h1.TransferEncoding:
			chunked = true
			continue
		case h1.Connection, h1.KeepAlive, h1.ProxyConnection, h1.Upgrade:
			continue
		case h1.ContentLength:
			length = parseLength(value)
			remember = false
		case h1.XRequestID:
			remember = false
		case h1.Other:
			if h1.EqualFold(name, "sec-websocket-accept") && upgraded || h1.EqualFold(name, "trailer") {
				continue // it says nothing by HTTP/2
			}
			remember = !onlyOnce(name)
		}
		c.field(name, value, remember)
	}
	end := false
	switch {
	case upgraded:
		s.part = partBytes
	case status[0] == '1':
	case s.noBody || string(status) == "204" || string(status) == "304" || length == 0 && !chunked:
		end = true
	case chunked:
		s.part = partChunks
	default:
		s.part, s.left = partLength, length
	}
	s.sent = end
	c.appendFields(s.id, end)
	return size, nil
}

var statusName = []byte(":status")

// parseLength reads a length that the core wrote.
func parseLength(b []byte) (n int64) {
	for _, c := range b {
		n = n*10 + int64(c-'0')
	}
	return n
}

// onlyOnce tells that a field is unlikely to come again with the same value, or is nobody else's business.
func onlyOnce(name []byte) bool {
	switch len(name) {
	case 4:
		return h1.EqualFold(name, "etag")
	case 8:
		return h1.EqualFold(name, "location")
	case 10:
		return h1.EqualFold(name, "set-cookie")
	case 13:
		return h1.EqualFold(name, "last-modified")
	}
	return false
}

// writeData sends a part of the body, and with end the end of the stream. mu is held.
func (s *Stream) writeData(b []byte, end bool) error {
	c := s.c
	for len(b) > 0 {
		if err := s.state(); err != nil {
			return err
		}
		n := min(int64(len(b)), maxFrame, c.send, s.send)
		if n <= 0 || c.full() {
			s.await(n <= 0)
			continue
		}
		flags := http2.Flags(0)
		if end && n == int64(len(b)) {
			flags, s.sent = http2.FlagDataEndStream, true
		}
		c.appendFrame(http2.FrameData, flags, s.id, b[:n]...)
		c.send -= n
		s.send -= n
		s.taken.Add(uint64(n))
		c.budget.earn(framePays)
		b = b[n:]
	}
	return nil
}

// await waits for a window to open, or for room in the output. mu is held.
func (s *Stream) await(window bool) {
	c := s.c
	c.flush()
	switch {
	case s.state() != nil:
	case window && (c.send <= 0 || s.send <= 0):
		s.wake.Wait()
	case c.full() && c.flushing:
		c.room.Wait()
	}
}

// writeChunks sends the data of chunks. mu is held.
func (s *Stream) writeChunks(b []byte) (int, error) {
	n, used, err := s.chunks.Decode(b, b)
	if err != nil {
		return 0, err
	}
	done := s.chunks.Done()
	trailers := done && len(s.chunks.Trailer()) > 0
	if err := s.writeData(b[:n], done && !trailers); err != nil {
		return 0, err
	}
	if done && !s.sent {
		return used, s.endWith(s.chunks.Trailer())
	}
	return used, nil
}

// endWith ends the stream with trailers, or with nothing. mu is held.
func (s *Stream) endWith(trailers []byte) error {
	if err := s.state(); err != nil {
		return err
	}
	c := s.c
	s.sent = true
	if len(trailers) == 0 {
		c.appendFrame(http2.FrameData, http2.FlagDataEndStream, s.id)
		return nil
	}
	for len(trailers) > 0 {
		var line []byte
		line, trailers, _ = bytes.Cut(trailers, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		c.field(name, bytes.TrimSpace(value), true)
	}
	c.appendFields(s.id, true)
	return nil
}

// Progress returns a number that changes when something of the answer is sent.
func (s *Stream) Progress() uint64 { return s.taken.Load() }

// Misdirected tells that the client took a connection that it opened for serverName for the one of another host, which the
// certificate covers, and that an answer's head says that there is no such host here. A connection of that host's own may
// lead to other routes: the client is told to open one (RFC 9110, section 15.5.20).
func Misdirected(head []byte, authority, serverName string) bool {
	return serverName != "" && bytes.Contains(head, []byte("\r\nX-Micro-Error: unknown_route\r\n")) && !sameHost(authority, serverName)
}

// sameHost tells that an authority is of a host.
func sameHost(authority, host string) bool {
	name := authority
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
		name = name[:i]
	}
	return strings.EqualFold(strings.TrimSuffix(name, "."), strings.TrimSuffix(host, "."))
}
