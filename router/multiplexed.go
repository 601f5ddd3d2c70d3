package router

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/protoduction/micro/router/h1"
	"github.com/protoduction/micro/router/h2"
)

// multiplexed is a client's connection that speaks HTTP/2 (see package h2).
type multiplexed struct {
	*session
	w    *wire
	conn *h2.Conn
}

var _ speaker = (*multiplexed)(nil)

func newMultiplexed(s *session, nc net.Conn) *multiplexed {
	m := &multiplexed{session: s, w: newWire(nc, &s.r.bufs, &s.r.watch, nil)}
	m.w.within(s.accepted)
	limits := s.r.limits()
	cfg := h2.Config{
		Open: m.open, Send: m.send, Cut: m.kill, Now: s.r.now,
		Idle: limits.keepalive, Begin: limits.head, MaxHead: h1.MaxHead, GivenBack: givenBack,
	}
	if t, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		cfg.ServerName = t.ConnectionState().ServerName
	}
	m.conn = h2.NewConn(nc, cfg)
	return m
}

// open returns what answers the requests of a stream.
func (m *multiplexed) open(s *h2.Stream) h2.Core {
	return core{&conn{session: m.session, w: newWire(s, &m.r.bufs, &m.r.watch, nil)}}
}

func (m *multiplexed) send(b []byte) error {
	_, err := m.w.send(b, m.r.limits().idle)
	return err
}

func (m *multiplexed) serve() {
	if m.conn.Serve() {
		m.w.linger()
	} else {
		m.w.close()
	}
}

func (m *multiplexed) idleSince() int64 { return m.conn.IdleSince() }

func (m *multiplexed) endWaiting() bool { return m.conn.EndIdle() }

func (m *multiplexed) endIdle() { m.conn.End() }

func (m *multiplexed) kill() { _ = m.accepted.Close() }

// core answers the requests of a stream of HTTP/2, one after the other.
type core struct{ *conn }

var _ h2.Core = core{}

// Answer answers a request.
func (c core) Answer(head []byte, bad *h1.Error) bool {
	c.start = time.Now()
	c.begun = int64(c.start.Sub(c.r.epoch)) | 1
	c.w.read.set(0)
	x := c.r.exchange(c.conn)
	end := keepOpen
	if bad != nil {
		x.req = h1.Request{} // it is not whole
		end = x.refuse(badRequest(bad))
	} else {
		x.head = append(x.head, head...)
		end = x.run()
	}
	x.end()
	c.drop()
	return end == keepOpen && !c.w.read.over()
}

// Leave ends the wait for the upstream of the request under way: nobody waits for the answer any more.
func (c core) Leave() {
	c.w.gone.Store(true)
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

// Close ends what is kept for the client's next requests.
func (c core) Close() {
	c.own.clear()
	c.w.close()
}
