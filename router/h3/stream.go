package h3

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Stream is a request of a client, as a connection that the core reads the body from and writes the answer to.
type Stream struct {
	c       *Conn
	r       *http.Request
	control *http.ResponseController

	// The body. One goroutine reads it.
	chunked bool   // the core reads chunks
	first   []byte // what has been read of it already
	closing []byte // what ends the chunks, as far as it has not been read
	over    bool   // closing has been made

	answer
}

var _ net.Conn = (*Stream)(nil)

// answer answers a request.
func (c *Conn) answer(w http.ResponseWriter, r *http.Request) {
	if !c.begin() {
		panic(http.ErrAbortHandler)
	}
	s := &Stream{c: c, r: r, control: http.NewResponseController(w)}
	s.begin(w)
	defer func() {
		// The end of a WebSocket ends the request's context too.
		c.finish(r.Context().Err() == nil || s.tunnel != nil && s.sent)
	}()
	body := s.hasBody()
	length := int64(-1)
	if body && r.ContentLength >= 0 && len(r.Trailer) == 0 {
		length = r.ContentLength
	}
	s.chunked = body && length < 0
	head, bad := appendHead(make([]byte, 0, 1024), r, s.chunked, length, c.MaxHead)
	core := c.Open(s)
	left := make(chan struct{})
	stop := context.AfterFunc(r.Context(), func() {
		core.Leave()
		close(left)
	})
	core.Answer(head, bad)
	if !stop() {
		<-left
	}
	core.Close()
	if s.tunnel != nil {
		s.endTunnel()
		return
	}
	if !s.sent {
		panic(http.ErrAbortHandler) // the client can tell the answer from a whole one
	}
}

// hasBody tells whether a body comes. Of a request that need not have one and does not say its length, only the end of
// the stream tells: it usually comes with the head.
func (s *Stream) hasBody() bool {
	switch r := s.r; {
	case r.Method == http.MethodConnect || r.ContentLength == 0:
		return false
	case r.ContentLength > 0 || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch:
		return true
	}
	_ = s.control.SetReadDeadline(time.Now().Add(s.c.Begin))
	b := make([]byte, 1)
	n, err := s.r.Body.Read(b)
	_ = s.control.SetReadDeadline(time.Time{})
	s.first = b[:n]
	return n > 0 || err == nil
}

// chunkFrame is as much as the frame of a chunk needs that fits into a buffer.
const chunkFrame = 12

// Read reads of the request's body.
func (s *Stream) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if !s.chunked {
		return s.read(b)
	}
	if len(s.closing) == 0 && s.over {
		return 0, io.EOF
	}
	if len(s.closing) == 0 {
		if len(b) <= chunkFrame {
			return 0, io.ErrShortBuffer
		}
		// The data is read to where the longest frame leaves it.
		at := len(strconv.FormatInt(int64(len(b)), 16)) + 2
		n, err := s.read(b[at : len(b)-2])
		if n > 0 {
			size := strconv.AppendInt(make([]byte, 0, chunkFrame), int64(n), 16)
			frame := append(size, "\r\n"...)
			copy(b, frame)
			copy(b[len(frame):], b[at:at+n])
			return copy(b[len(frame)+n:], "\r\n") + len(frame) + n, nil
		}
		if !errors.Is(err, io.EOF) {
			return 0, err
		}
		s.over = true
		s.closing = append(appendTrailer([]byte("0\r\n"), s.r.Trailer), "\r\n"...)
	}
	n := copy(b, s.closing)
	s.closing = s.closing[n:]
	return n, nil
}

// read reads of the body as it came.
func (s *Stream) read(b []byte) (n int, err error) {
	if len(s.first) > 0 {
		n = copy(b, s.first)
		s.first = s.first[n:]
		return n, nil
	}
	n, err = s.r.Body.Read(b)
	if n > 0 {
		return n, nil // an error comes again
	}
	return 0, err
}

// SetReadDeadline ends a running read where t is in the past, and lets the next ones wait where it is zero.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.control.SetReadDeadline(t) }

// SetWriteDeadline is SetReadDeadline for writing.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.control.SetWriteDeadline(t) }

// SetDeadline is both.
func (s *Stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// Close does nothing: a stream ends with its answer.
func (s *Stream) Close() error { return nil }

// LocalAddr returns the connection's.
func (s *Stream) LocalAddr() net.Addr { return s.c.LocalAddr() }

// RemoteAddr returns the client's.
func (s *Stream) RemoteAddr() net.Addr { return s.c.RemoteAddr() }
