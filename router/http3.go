package router

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/protoduction/micro/router/h1"
	"github.com/protoduction/micro/router/h3"
)

// QUIC says how the connections of a UDP socket are made.
type QUIC struct {
	// TLS returns the settings of handshakes. It asks internal whether the client of a handshake may ask the internal table,
	// and tells verified the ID of the Clients that the handshake goes by.
	TLS    func(internal func(*tls.ClientHelloInfo) bool, verified func(hello *tls.ClientHelloInfo, id string)) *tls.Config
	Secret []byte // the cloud's
}

// begun is what is known of a client that makes a handshake by QUIC.
type begun struct{ clients string }

type begunKey struct{}

// errTrustedProxy refuses a proxy that says by the PROXY protocol whom it speaks for: by UDP it can't, and its clients
// must not get what is for the proxy's own address.
var errTrustedProxy = errors.New("a proxy that speaks the PROXY protocol")

// ServeHTTP3 accepts connections with HTTP/3 on a UDP socket until ctx ends or Shutdown is called, and then returns nil.
// Connections live on until Shutdown, and the socket is closed after it.
func (r *Router) ServeHTTP3(ctx context.Context, socket net.PacketConn, q QUIC, l Listener) error {
	limits := r.limits()
	of := func(hello *tls.ClientHelloInfo) *begun {
		b, _ := hello.Context().Value(begunKey{}).(*begun)
		return b
	}
	ln, err := h3.Listen(socket, h3.ListenerConfig{
		TLS: q.TLS(func(hello *tls.ClientHelloInfo) bool {
			o := r.origin(hello.Conn, &l)
			return o.internal && !o.denied
		}, func(hello *tls.ClientHelloInfo, id string) {
			if b := of(hello); b != nil {
				b.clients = id
			}
		}),
		Secret: q.Secret, Handshake: limits.handshake, Idle: limits.keepalive,
		Begin: func(ctx context.Context, from net.Addr) (context.Context, error) {
			if containsAddr(r.proxyProtocol, addrPort(from).Addr()) {
				return nil, errTrustedProxy
			}
			return context.WithValue(ctx, begunKey{}, new(begun)), nil
		},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer ln.Close()
	done := make(chan struct{})
	defer close(done)
	r.mu.Lock()
	r.http3 = append(r.http3, ln)
	r.mu.Unlock()
	stop := func() {
		limited, end := context.WithTimeout(ctx, handshakesLeft)
		defer end()
		ln.Leave(limited)
		cancel()
		<-done
	}
	if !r.conns.listening(stop) {
		return nil
	}
	for {
		c, err := ln.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		r.admitHTTP3(c, &l)
	}
}

// handshakesLeft is how long a shutdown waits for handshakes by QUIC that are under way.
const handshakesLeft = time.Second

// admitHTTP3 serves a connection, where there is room for it.
func (r *Router) admitHTTP3(c *h3.Conn, l *Listener) {
	s := &session{origin: r.origin(c, l), r: r, listener: l, accepted: carrier{c}, since: r.now()}
	s.tls = true
	if b, ok := c.Context().Value(begunKey{}).(*begun); ok {
		s.clients = b.clients
	}
	if !r.conns.add(s) {
		c.Kill()
		return
	}
	go func() {
		defer r.conns.remove(s)
		m := &overQUIC{session: s, conn: c}
		r.conns.speaks(s, m)
		m.serve()
	}()
}

// endHTTP3 ends what is left of all connections with HTTP/3.
func (r *Router) endHTTP3() {
	r.mu.Lock()
	all := slices.Clone(r.http3)
	r.mu.Unlock()
	for _, ln := range all {
		ln.End()
	}
}

// overQUIC is a client's connection that speaks HTTP/3 (see package h3).
type overQUIC struct {
	*session
	conn *h3.Conn
}

var _ speaker = (*overQUIC)(nil)

func (q *overQUIC) serve() {
	limits := q.r.limits()
	q.conn.Serve(h3.Config{
		Open: func(s *h3.Stream) h3.Core {
			return core{&conn{session: q.session, w: newWire(s, &q.r.bufs, &q.r.watch, nil)}}
		},
		Now: q.r.now, Idle: limits.keepalive, Begin: limits.head, MaxHead: h1.MaxHead,
	})
}

func (q *overQUIC) idleSince() int64 { return q.conn.IdleSince() }

func (q *overQUIC) endWaiting() bool { return q.conn.EndIdle() }

func (q *overQUIC) endIdle() { q.conn.End() }

func (q *overQUIC) kill() { q.conn.Kill() }

// carrier is a connection by QUIC in the place of an accepted socket. Its streams are read and written, and not itself.
type carrier struct{ *h3.Conn }

var _ net.Conn = carrier{}

func (c carrier) Close() error                   { c.Kill(); return nil }
func (carrier) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (carrier) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (carrier) SetDeadline(time.Time) error      { return nil }
func (carrier) SetReadDeadline(time.Time) error  { return nil }
func (carrier) SetWriteDeadline(time.Time) error { return nil }
