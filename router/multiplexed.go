package router

import (
	"crypto/tls"
	"net"
	"sync"

	"github.com/protoduction/micro/router/h1"
	"github.com/protoduction/micro/router/h2"
)

// multiplexed is a client's connection that speaks HTTP/2. Each of its streams is a connection of HTTP/1.1 within
// this process, which a goroutine serves like any other (see package h2).
type multiplexed struct {
	*session
	conn    *h2.Conn
	streams sync.WaitGroup
}

var _ speaker = (*multiplexed)(nil)

func newMultiplexed(s *session, nc net.Conn) *multiplexed {
	m := &multiplexed{session: s}
	cfg := h2.Config{Open: m.open, Now: s.r.now, Idle: s.r.limits().keepalive, MaxHead: h1.MaxHead}
	if t, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		cfg.ServerName = t.ConnectionState().ServerName
	}
	m.conn = h2.NewConn(nc, cfg)
	return m
}

// open opens a connection for streams.
func (m *multiplexed) open() (net.Conn, func()) {
	ours, core := net.Pipe()
	c := newStreamConn(m.session, core)
	m.streams.Go(c.serve)
	return ours, c.leave
}

func (m *multiplexed) serve() {
	m.conn.Serve()
	m.streams.Wait()
}

func (m *multiplexed) idleSince() int64 { return m.conn.IdleSince() }

func (m *multiplexed) endWaiting() bool {
	if m.conn.IdleSince() == 0 {
		return false
	}
	m.conn.End()
	return true
}

func (m *multiplexed) endIdle() { m.conn.End() }

func (m *multiplexed) kill() { m.conn.Kill() }

// newStreamConn returns a connection that carries the requests of one stream after the other.
func newStreamConn(s *session, nc net.Conn) *conn {
	c := &conn{session: s, w: newWire(nc, &s.r.bufs, &s.r.watch, nil), stream: true}
	c.waiting.Store(s.since)
	return c
}

// leave ends the request under way, and the connection: nobody waits for the answer any more.
func (c *conn) leave() {
	c.w.gone.Store(true)
	_ = c.w.Conn.Close()
	up := c.w.up.Load()
	if up == nil {
		return // the watch looks again
	}
	// The upstream may be another client's by now: then its limit has changed too, and we do nothing.
	at := up.read.at.Load()
	if c.w.up.Load() == up && at >= 0 && up.read.at.CompareAndSwap(at, cancelled) {
		_ = up.SetReadDeadline(longAgo)
	}
}
