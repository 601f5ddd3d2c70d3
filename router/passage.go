package router

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h1"
)

// passage passes a client's connection on as it is: that of a routed port, or one whose TLS is the app's. It is claimed,
// counted, recorded and drained as a request is; the release is chosen once, so that shares are those of connections.
type passage struct {
	*session
	c     *conn
	host  string // whose route it takes
	first []byte // what has been read of it already
	pipes atomic.Pointer[pipes]
}

var _ speaker = (*passage)(nil)

func newPassage(s *session, host string, first []byte) *passage {
	return &passage{session: s, c: newConn(s, s.accepted), host: host, first: first}
}

// idleSince: a connection that is passed on never waits for a request.
func (p *passage) idleSince() int64 { return 0 }

func (p *passage) endWaiting() bool { return false }

// endIdle ends a connection on which nothing moves, and others after as long as a WebSocket has.
func (p *passage) endIdle() {
	time.AfterFunc(farewell, p.kill)
	if pipes := p.pipes.Load(); pipes == nil || p.r.now()-pipes.seen.Load() > int64(quiet) {
		p.kill()
	}
}

// quiet is for how long nothing has moved on a connection that may be ended.
const quiet = time.Second

func (p *passage) kill() { p.c.kill() }

// passedMethod is what the method of a connection is recorded as.
var passedMethod = []byte("TCP")

// serve passes the connection on until it ends.
func (p *passage) serve() {
	c := p.c
	c.start = time.Now()
	c.begun = int64(c.start.Sub(c.r.epoch)) | 1
	c.waiting.Store(0)
	x := c.r.exchange(c)
	x.req = h1.Request{}
	x.Method, x.Host, x.through = passedMethod, []byte(p.host), p.host
	x.newID()
	f := x.find()
	if f.status == 0 && !x.route.passes {
		f = faultUnknown
	}
	if f.status == 0 {
		f = x.reach()
	}
	if f.status != 0 {
		x.Status, x.Error = f.status, f.code
	} else {
		x.pass(p)
	}
	x.end()
	c.w.close()
}

// reach connects to an instance.
func (x *exchange) reach() fault {
	begun := x.c.r.now()
	for {
		if f := x.claimOrHold(); f.status != 0 {
			if len(x.tried) > 0 && f == faultNoEndpoints {
				f = faultConnect
			}
			return f
		}
		w, _, err := x.connect(true)
		switch {
		case err == nil:
			x.up = w
			return fault{}
		case cloud.Shortage(err):
			return faultOverloaded
		case x.c.r.now()-begun > int64(connectAll):
			return faultConnect
		}
		x.reject()
	}
}

// pass passes bytes both ways until both sides have ended.
func (x *exchange) pass(of *passage) {
	c, r := x.c, x.c.r
	x.Status, x.answered = 200, true
	x.First = time.Duration(r.now() - x.begun) // until an instance has taken it: nobody knows what its bytes mean
	x.waited()
	x.countStream()
	x.up.read.set(0)
	b := x.buf[:0]
	if x.route.proxyProtocol {
		b = appendProxyHeader(b, c.peer, addrPort(c.accepted.LocalAddr()))
	}
	x.buf = append(b, of.first...)
	if len(x.buf) > 0 {
		if _, err := x.up.send(x.buf, x.limits.idle); err != nil {
			x.Status, x.Error = faultBroken.status, faultBroken.code
			return
		}
	}
	x.In = int64(len(of.first))
	p := &pipes{r: r, limits: x.limits, client: c.w, up: x.up}
	p.seen.Store(r.now())
	of.pipes.Store(p)
	up := make(chan int64, 1)
	go func() { up <- p.copy(p.up, p.client, &p.upward) }()
	x.Out += p.copy(p.client, p.up, &p.down)
	x.In += <-up
	if p.half != nil {
		p.half.Stop()
	}
	if x.Out == 0 && x.In > 0 && p.ended.Load() {
		// It asked for something and got nothing but a reset.
		x.Status, x.Error = faultBroken.status, faultBroken.code
	}
}

// appendProxyHeader adds a header of the PROXY protocol, version 2, for a connection between two addresses.
func appendProxyHeader(b []byte, from, to netip.AddrPort) []byte {
	b = append(b, proxyV2...)
	family, size := byte(proxyTCP6), uint16(2*16+4)
	if from.Addr().Is4() && to.Addr().Is4() {
		family, size = proxyTCP4, 2*4+4
	}
	b = binary.BigEndian.AppendUint16(append(b, proxyCommand, family), size)
	for _, a := range [...]netip.AddrPort{from, to} {
		if family == proxyTCP4 {
			b = append(b, a.Addr().AsSlice()...)
		} else {
			all := a.Addr().As16()
			b = append(b, all[:]...)
		}
	}
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, from.Port()), to.Port())
}

// Ports returns the TCP ports that the table routes, and whether the public may reach each.
func (t *Table) Ports() map[uint16]bool { return t.ports }

// port notes whether a host is a routed port.
func (j *compilation) port(h cloud.Host, s *cloud.VirtualHost) {
	port := h.Port()
	if port == 0 {
		return
	}
	next := make(map[uint16]bool, len(j.ports)+1)
	for p, public := range j.ports {
		next[p] = public
	}
	if delete(next, port); s != nil {
		next[port] = s.Exposure == cloud.ExposedPublic
	}
	j.ports = next
}

// errPassed says that a connection is passed on instead of a handshake.
var errPassed = errors.New("passed on")

// passHost returns the host whose bytes are passed on for a connection by TLS, with what was read to know. Without
// such a host, the connection continues with the returned one.
func (s *session) passHost() (host string, first []byte, rest net.Conn, err error) {
	t := s.r.table.Load()
	if t.passing == 0 {
		return "", nil, newSocket(s.accepted), nil
	}
	name, first, err := readServerName(s.accepted)
	if err != nil && (errors.Is(err, os.ErrDeadlineExceeded) || len(first) == 0) {
		return "", nil, nil, err
	}
	var key [maxHostKey + 1]byte
	if host := hostKey([]byte(name), &key); name != "" && host != nil && !s.denied {
		if v := t.vhost(s.internal, s.loopback, &key, host); v != nil && v.root != nil && v.root.passes {
			return name, first, nil, nil
		}
	}
	return "", nil, &begunConn{newSocket(s.accepted), first}, nil
}

// begunConn is a connection of which something has been read already.
type begunConn struct {
	net.Conn
	first []byte
}

func (c *begunConn) Read(b []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(b, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}
