package router

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/router/h1"
)

// conn is a client's connection with HTTP/1. One goroutine serves its requests one by one.
type conn struct {
	*session
	w   *wire
	own owned

	in    *block    // has unused bytes; nil if there are none
	at, n int       // in.b[at:n] are unused
	start time.Time // when the first byte of the request arrived
	begun int64     // the same on the router's clock
	idle  atomic.Bool
	// waiting is when the connection began to wait for a request, on the router's clock; 0 during a request.
	waiting atomic.Int64
}

var _ speaker = (*conn)(nil)

func newConn(s *session, nc net.Conn) *conn {
	w := newWire(nc, &s.r.bufs, &s.r.watch, nil)
	w.within(s.accepted)
	w.under = s.under
	c := &conn{session: s, w: w}
	c.waiting.Store(s.since)
	return c
}

func (c *conn) idleSince() int64 { return c.waiting.Load() }

func (c *conn) endWaiting() bool {
	// The limit changes at the beginning of a request, so that a request which begins now is not cut off.
	at := c.w.read.at.Load()
	if at <= 0 || c.waiting.Load() == 0 || !c.w.read.at.CompareAndSwap(at, cancelled) {
		return false
	}
	_ = c.w.SetReadDeadline(longAgo)
	return true
}

func (c *conn) endIdle() {
	if c.idle.Load() {
		c.w.cancelRead()
	}
}

func (c *conn) kill() {
	_ = c.w.Conn.Close()
	if up := c.w.up.Load(); up != nil {
		_ = up.Conn.Close()
	}
}

// serve answers requests until the connection ends.
func (c *conn) serve() {
	defer c.own.clear()
	for {
		head, err := c.head()
		if err != nil {
			if bad, ok := errors.AsType[*h1.Error](err); ok {
				c.refuseHead(bad)
			}
			break
		}
		if head == 0 {
			break
		}
		switch c.exchange(head) {
		case keepOpen:
			continue
		case lingering:
			c.drop()
			c.w.linger()
			return
		case closing:
			if len(c.unread()) > 0 || c.w.pending() {
				c.drop()
				c.w.linger()
				return
			}
		}
		break
	}
	c.drop()
	c.w.close()
}

// ending is what happens to a client's connection after an exchange.
type ending uint8

const (
	keepOpen  ending = iota
	closing          // close at once
	lingering        // close so that a client that is still sending can read the answer
)

func (c *conn) drop() {
	c.r.bufs.put(c.in)
	c.in, c.at, c.n = nil, 0, 0
}

// unread returns the unused bytes. They stay valid until the next call of use or drop.
func (c *conn) unread() []byte {
	if c.in == nil {
		return nil
	}
	return c.in.b[c.at:c.n]
}

// use marks the first n unread bytes as used. A connection without unread bytes holds no buffer.
func (c *conn) use(n int) {
	if c.at += n; c.in != nil && c.at == c.n {
		c.drop()
	}
}

// head reads until there is a complete head and returns its length; 0 at the end of the connection. Until the first byte
// arrives, it holds no memory but the goroutine's.
func (c *conn) head() (int, error) {
	r := c.r
	if c.in == nil {
		now := r.now()
		c.waiting.Store(now)
		if !c.w.read.arm(now + int64(r.limits().keepalive)) {
			return 0, nil
		}
		// Mark the connection idle before checking for the shutdown. The shutdown does it the other way round,
		// so that one of the two always sees the other.
		c.idle.Store(true)
		if r.noWaiting.Load() {
			return 0, nil
		}
		size := smallBlock
		if c.w.raw == nil {
			size = tinyBlock // some hold it while they wait
		}
		b, n, err := c.w.first(size, 0, size)
		if err != nil && r.noWaiting.Load() {
			// Answer a request that arrived when the shutdown began.
			if b, n = c.w.grab(); n > 0 {
				err = nil
			}
		}
		if err != nil {
			return 0, nil // closed or idle for too long; no client waits for an answer
		}
		c.idle.Store(false)
		c.in, c.at, c.n = b, 0, n
	}
	c.start = time.Now()
	c.begun = int64(c.start.Sub(r.epoch)) | 1
	if c.waiting.Load() == 0 {
		c.waiting.Store(c.begun)
	}
	// One limit for the whole head, which single bytes don't extend.
	limit := r.limits().head
	if !c.w.read.arm(c.begun + int64(limit)) {
		if !r.noWaiting.Load() {
			return 0, nil
		}
		c.w.read.set(c.begun + int64(limit))
	}
	for seen := 0; ; {
		// An empty line before a request is ignored (RFC 9112, section 2.2).
		for c.n-c.at >= 2 && c.in.b[c.at] == '\r' && c.in.b[c.at+1] == '\n' {
			c.at += 2
		}
		if c.n > c.at {
			end, err := h1.End(c.in.b[c.at:c.n], seen)
			if end > 0 || err != nil {
				c.w.read.set(0)
				return end, err
			}
			seen = c.n - c.at
		}
		c.makeRoom()
		n, err := c.w.Read(c.in.b[c.n:])
		switch {
		case err == nil:
			c.n += n
		case errors.Is(err, os.ErrDeadlineExceeded) && c.n > c.at && !c.w.read.cancelled():
			return 0, &h1.Error{Status: 408, Reason: "the request's head did not arrive within " + limit.String()}
		default:
			return 0, nil
		}
	}
}

// makeRoom makes room for more bytes.
func (c *conn) makeRoom() {
	if c.n < len(c.in.b) && c.n-c.at < smallBlock {
		return
	}
	from := c.in
	switch {
	case len(from.b) == tinyBlock:
		c.in = c.r.bufs.get(smallBlock)
	case len(from.b) == smallBlock && c.at == 0:
		c.in = c.r.bufs.get(largeBlock)
	}
	c.n = copy(c.in.b, from.b[c.at:c.n])
	c.at = 0
	if from != c.in {
		c.r.bufs.put(from)
	}
}

// refuseHead answers an invalid request.
func (c *conn) refuseHead(bad *h1.Error) {
	x := c.r.exchange(c)
	x.req = h1.Request{} // none could be read
	x.refuse(fault{status: bad.Status, code: "bad_request", text: bad.Reason})
	x.end()
	c.drop()
	c.w.linger()
}

// exchange answers one request, whose head is the first size unread bytes. The exchange gets a copy of the head, because it
// needs the head until its end, when another connection may already use the buffer.
func (c *conn) exchange(size int) ending {
	c.waiting.Store(0)
	x := c.r.exchange(c)
	x.head = append(x.head, c.unread()[:size]...)
	c.use(size)
	end := x.run()
	x.end()
	return end
}
