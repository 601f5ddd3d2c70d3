package h2

import (
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/protoduction/micro/router/h1"
)

// Stream is a request of a client, as a connection that the core reads the body from and writes the answer to. After a
// whole answer it is used for another request. The mutex of its Conn guards it.
type Stream struct {
	c     *Conn
	core  Core
	start chan struct{} // has a request to answer; closed for no more of them
	// head and bad are what the core is to answer, until it has begun.
	head []byte
	bad  *h1.Error

	id   uint32
	wake sync.Cond // something has come, or may be sent
	gone bool      // the stream has ended before its answer
	// Time is over for reading or writing, until another limit is set.
	readOver, writeOver bool

	body
	answer
}

// body is what comes from the client.
type body struct {
	in         []byte // in[at:] has not been read
	at         int
	receive    int64  // window
	receiveDue int64  // by how much it can be opened again
	due        int64  // bytes that are to come, -1 for any number
	received   bool   // all of it has come
	chunked    bool   // the core reads chunks
	closing    []byte // what ends the chunks, as far as it has not been read
}

// maxKept is how much memory a stream keeps for the next request's body.
const maxKept = 32 << 10

// begin makes s that of a new request. mu is held.
func (s *Stream) begin(id uint32, ended bool, h *head, bad *h1.Error) {
	s.id, s.bad = id, bad
	s.head, h.text = h.text, s.head
	s.gone, s.readOver, s.writeOver = false, false, false
	in := s.in[:0]
	if cap(in) > maxKept {
		in = nil
	}
	s.body = body{in: in, receive: streamWindow, due: h.length, received: ended, chunked: !ended && h.chunked()}
	s.answer.begin(s.c.firstSend, h)
}

// run answers requests, one after the other.
func (s *Stream) run() {
	defer s.core.Close()
	for range s.start {
		keep := s.waitedFor() && s.core.Answer(s.head, s.bad)
		if !s.finish(keep) {
			return
		}
	}
}

// waitedFor tells that the client still waits for the answer.
func (s *Stream) waitedFor() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return !s.gone
}

// finish ends a stream whose request is answered, and tells whether s is used again.
func (s *Stream) finish(keep bool) bool {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.giveBack(s.head)
	if !s.gone {
		switch {
		case !s.sent:
			// The client can tell the answer from a whole one.
			c.reset(s, http2.ErrCodeInternal)
			keep = false
		case !s.received && s.due != 0:
			// It is answered and need not send the rest (RFC 9113, section 8.1).
			c.reset(s, http2.ErrCodeNo)
			keep = false
		default:
			c.budget.earn(answerPays)
			c.remove(s)
			if !s.received {
				c.finished.add(s.id) // an empty frame may follow
			}
		}
		c.flush()
	} else {
		keep = false
	}
	if c.running--; c.running == 0 {
		c.idle.Store(c.Now())
		if c.left {
			c.hangUp()
		}
	}
	if keep = keep && !c.ended && len(c.free) < maxFree; keep {
		c.free = append(c.free, s)
	}
	return keep
}

// leave ends a stream in the middle. mu is held.
func (s *Stream) leave() {
	if s.gone {
		return
	}
	s.gone = true
	s.core.Leave()
	s.wake.Broadcast()
	s.c.room.Broadcast()
}

// endBody notes that the whole body has come, with its trailers as lines of HTTP/1.1. mu is held.
func (s *Stream) endBody(trailers []byte) {
	s.received = true
	if s.due > 0 {
		s.c.reset(s, http2.ErrCodeProtocol) // it is shorter than announced
		return
	}
	if s.chunked {
		s.closing = append(append(append(s.closing[:0], "0\r\n"...), trailers...), "\r\n"...)
	}
	s.wake.Broadcast()
}

// reopen makes room for n more bytes of the body. mu is held.
func (s *Stream) reopen(n int64) {
	if s.receiveDue += n; s.receiveDue >= streamWindow/4 && !s.received {
		s.c.appendWindow(s.id, s.receiveDue)
		s.receive += s.receiveDue
		s.receiveDue = 0
	}
}

// Wait returns when there is something to read, or an error that Read would return. A core that waits here holds no
// buffer meanwhile.
func (s *Stream) Wait() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.wait()
}

// wait is Wait. mu is held.
func (s *Stream) wait() error {
	for {
		switch {
		case s.gone:
			return net.ErrClosed
		case s.readOver:
			return os.ErrDeadlineExceeded
		case s.at < len(s.in) || len(s.closing) > 0:
			return nil
		case s.received:
			return io.EOF
		}
		s.wake.Wait()
	}
}

// Read reads of the request's body.
func (s *Stream) Read(b []byte) (n int, err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(b) == 0 {
		return 0, nil
	}
	if err := s.wait(); err != nil {
		return 0, err
	}
	if s.at == len(s.in) {
		n = copy(b, s.closing)
		s.closing = s.closing[n:]
		return n, nil
	}
	if !s.chunked {
		n = copy(b, s.in[s.at:])
		s.read(n)
		return n, nil
	}
	return s.readChunk(b)
}

// chunkFrame is as much as the frame of a chunk needs that fits into a buffer.
const chunkFrame = 12

// readChunk reads of a body as a chunk. mu is held.
func (s *Stream) readChunk(b []byte) (int, error) {
	if len(b) <= chunkFrame {
		return 0, io.ErrShortBuffer
	}
	k := min(len(s.in)-s.at, len(b)-chunkFrame)
	chunk := append(strconv.AppendInt(b[:0], int64(k), 16), "\r\n"...)
	chunk = append(append(chunk, s.in[s.at:s.at+k]...), "\r\n"...)
	s.read(k)
	return len(chunk), nil
}

// read notes that n bytes of the body have been read. mu is held.
func (s *Stream) read(n int) {
	if s.at += n; s.at == len(s.in) {
		s.c.giveBack(s.in)
		s.in, s.at = s.in[:0], 0
	}
	s.c.reopen(int64(n))
	s.reopen(int64(n))
	s.c.flush()
}

// SetReadDeadline ends a running read where t is in the past, and lets the next ones wait where it is zero. The router
// has its own clock and sets no others.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.readOver = !t.IsZero(); s.readOver {
		s.wake.Broadcast()
	}
	return nil
}

// SetWriteDeadline is SetReadDeadline for writing.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.writeOver = !t.IsZero(); s.writeOver {
		s.wake.Broadcast()
		s.c.room.Broadcast()
	}
	return nil
}

// SetDeadline is both.
func (s *Stream) SetDeadline(t time.Time) error {
	_ = s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

// Close does nothing: a stream ends with its answer.
func (s *Stream) Close() error { return nil }

// LocalAddr returns the connection's.
func (s *Stream) LocalAddr() net.Addr { return s.c.nc.LocalAddr() }

// RemoteAddr returns the client's.
func (s *Stream) RemoteAddr() net.Addr { return s.c.nc.RemoteAddr() }

var _ net.Conn = (*Stream)(nil)
