package h3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/protoduction/micro/router/h1"
	"github.com/protoduction/micro/router/h2"
)

// answer is what goes to the client: the core writes it in HTTP/1.1, a whole head at a time.
type answer struct {
	w      http.ResponseWriter
	tunnel *http3.Stream // the stream of a WebSocket, once it is open
	part   part
	left   int64 // bytes of a body of known length that are to come
	chunks h1.Chunks
	sent   bool // the whole answer is written
	taken  atomic.Uint64
}

// part is what of an answer comes next.
type part uint8

const (
	partHead part = iota
	partLength
	partChunks
	partBytes // of a WebSocket
)

func (s *Stream) begin(w http.ResponseWriter) { s.w = w }

// errAnswer says that the core wrote no answer of HTTP/1.1.
var errAnswer = errors.New("the answer is not valid")

// Write sends what the core writes of its answer. It uses b's memory.
func (s *Stream) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil && !s.sent {
		var k int
		switch s.part {
		case partHead:
			k, err = s.writeHead(b[n:])
		case partLength:
			k = int(min(s.left, int64(len(b)-n)))
			if err = s.writeData(b[n : n+k]); err == nil {
				s.left -= int64(k)
				s.sent = s.left == 0
			}
		case partChunks:
			k, err = s.writeChunks(b[n:])
		case partBytes:
			k = len(b) - n
			err = s.writeData(b[n:])
		}
		n += k
	}
	if err == nil && !s.sent && s.tunnel == nil {
		err = s.control.Flush() // the end of the request sends the rest
	}
	return n, err
}

// CloseWrite ends what is sent on the stream of a WebSocket.
func (s *Stream) CloseWrite() error {
	if s.tunnel == nil || s.sent {
		return nil
	}
	s.sent = true
	return s.tunnel.Close()
}

// writeHead sends the head that b begins with, and returns its size.
func (s *Stream) writeHead(b []byte) (int, error) {
	size := bytes.Index(b, []byte("\r\n\r\n")) + 4
	line, rest, _ := bytes.Cut(b[:max(size-2, 0)], []byte("\r\n"))
	if size < 4 || len(line) < len("HTTP/1.1 200") {
		return 0, errAnswer
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, errAnswer
	}
	upgraded := status == http.StatusSwitchingProtocols
	if upgraded {
		if !asksForWebSocket(s.r) {
			return 0, errAnswer
		}
		status = http.StatusOK
	}
	if status == http.StatusNotFound && h2.Misdirected(b[:size], s.r.Host, s.c.serverName()) {
		status = http.StatusMisdirectedRequest
	}
	fields := s.w.Header()
	clear(fields)
	chunked, length := false, int64(-1)
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(": "))
		if !ok {
			return 0, errAnswer
		}
		switch h1.NameOf(name) {
		case h1.TransferEncoding:
			chunked = true
			continue
		case h1.Connection, h1.KeepAlive, h1.ProxyConnection, h1.Upgrade:
			continue
		case h1.ContentLength:
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return 0, errAnswer
			}
		case h1.Other:
			if h1.EqualFold(name, "trailer") {
				continue // the library would take the fields for trailers
			}
			if upgraded && h1.EqualFold(name, "sec-websocket-accept") {
				continue // it says nothing by HTTP/3
			}
		}
		key := http.CanonicalHeaderKey(string(name))
		fields[key] = append(fields[key], string(value))
	}
	if _, ok := fields["Date"]; !ok {
		fields["Date"] = nil // the library adds none
	}
	s.w.WriteHeader(status)
	switch {
	case upgraded:
		s.part = partBytes
		s.tunnel, err = s.w.(http3.HTTPStreamer).HTTPStream()
		return size, err
	case status < 200:
	case s.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified || length == 0 && !chunked:
		s.sent = true
		return size, s.control.Flush() // the library adds no length then
	case chunked:
		s.part = partChunks
	default:
		s.part, s.left = partLength, length
	}
	return size, nil
}

// piece is how much of a body is written at a time: a client that takes it slowly is seen to move.
const piece = 16 << 10

func (s *Stream) writeData(b []byte) error {
	var to io.Writer = s.w
	if s.tunnel != nil {
		to = s.tunnel
	}
	for len(b) > 0 {
		n, err := to.Write(b[:min(len(b), piece)])
		if err != nil {
			return err
		}
		s.taken.Add(uint64(n))
		b = b[n:]
	}
	return nil
}

// writeChunks sends the data of chunks.
func (s *Stream) writeChunks(b []byte) (int, error) {
	n, used, err := s.chunks.Decode(b, b)
	if err != nil {
		return 0, err
	}
	if err := s.writeData(b[:n]); err != nil {
		return 0, err
	}
	if s.chunks.Done() {
		s.sent = true
		for line := range bytes.SplitSeq(s.chunks.Trailer(), []byte("\r\n")) {
			if name, value, ok := bytes.Cut(line, []byte(":")); ok {
				s.w.Header().Add(http.TrailerPrefix+string(name), string(bytes.TrimSpace(value)))
			}
		}
	}
	return used, nil
}

// endTunnel ends the stream of a WebSocket after its core. Where its end was not sent, the client sees that it is cut.
func (s *Stream) endTunnel() {
	if !s.sent {
		s.tunnel.CancelWrite(quic.StreamErrorCode(http3.ErrCodeInternalError))
	}
	s.tunnel.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError)) // it does nothing after the client's end
}

// Progress returns a number that changes when something of the answer is sent.
func (s *Stream) Progress() uint64 { return s.taken.Load() }
