package router

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/protoduction/micro/cloud"
)

// session is a client's connection from accept to close: a handshake, and then the negotiated protocol.
type session struct {
	origin
	r        *Router
	listener *Listener
	accepted net.Conn
	under    *socket // accepted, where TLS is spoken within it; else nil
	since    int64   // when it was accepted, on the router's clock
	// through is the host whose route the connection takes where it is passed on, first what has been read of it.
	through string
	first   []byte

	// What follows belongs to conns.
	speaker  speaker // nil until the handshake is over
	places   [crowds]place
	inClient netip.Prefix
	inGroup  string
	evicted  bool
}

// idleSince returns since when the session has waited for a request, on the router's clock; 0 while it has one.
func (s *session) idleSince() int64 {
	if s.speaker == nil {
		return s.since
	}
	return s.speaker.idleSince()
}

// speaker serves a client's connection in one protocol.
type speaker interface {
	// serve answers requests until the connection has ended.
	serve()
	// idleSince returns since when it has waited for a request that is whole, on the router's clock; 0 while it has
	// one.
	idleSince() int64
	// endWaiting ends the connection and returns true, unless it has a request.
	endWaiting() bool
	// endIdle ends the connection where not even a part of a request has come.
	endIdle()
	// kill ends it whatever it is at.
	kill()
}

// Protocols by their names in ALPN (RFC 7301).
const (
	protocolHTTP1 = "http/1.1"
	protocolHTTP2 = "h2"
)

// run serves the connection.
func (s *session) run() {
	nc, protocol, err := s.handshake()
	if s.listener.Scheme != "https" {
		s.serve(nc, protocol, err)
		return
	}
	// The stack of this goroutine has grown in the handshake.
	go s.serve(nc, protocol, err)
}

// serve serves the connection after its handshake.
func (s *session) serve(nc net.Conn, protocol string, err error) {
	defer s.r.descriptors.give(1)
	defer s.r.conns.remove(s)
	if speaker := s.newSpeaker(nc, protocol, err); speaker != nil {
		s.r.conns.speaks(s, speaker)
		speaker.serve()
	}
}

// newSpeaker returns what serves the connection after its handshake, nil for nothing: it is closed then. It is a function of
// its own so that little of it stays on the stack of a connection that waits.
func (s *session) newSpeaker(nc net.Conn, protocol string, err error) speaker {
	switch {
	case errors.Is(err, errPassed):
		return newPassage(s, s.through, s.first)
	case err != nil:
		s.r.log.Debug("handshake", "client", s.peer.Addr(), "err", err)
		// A client that has sent a request after its part of the handshake gets to read why it is refused.
		newWire(s.accepted, &s.r.bufs, &s.r.watch, nil).linger()
	case protocol == "" || protocol == protocolHTTP1:
		return newConn(s, nc)
	case protocol == protocolHTTP2:
		return newMultiplexed(s, nc)
	default:
		s.r.log.Debug("handshake", "client", s.peer.Addr(), "err", "the protocol is not supported", "protocol", protocol)
		_ = nc.Close()
	}
	return nil
}

// handshake prepares the connection as its listener does, in the time that there is for it.
func (s *session) handshake() (net.Conn, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.r.limits().handshake)
	defer cancel()
	// Not every handshake looks at its context.
	stop := context.AfterFunc(ctx, func() { _ = s.accepted.SetDeadline(longAgo) })
	var nc net.Conn
	var protocol string
	err := s.readProxyHeader()
	to := newSocket(s.accepted)
	switch {
	case err != nil:
	case s.listener.Port != 0:
		s.through, err = string(cloud.PortHost(s.listener.Port)), errPassed
	case s.listener.Scheme == "https":
		if s.through, s.first, to, err = s.passHost(); s.through != "" {
			err = errPassed
		}
	}
	if err == nil {
		s.under, _ = to.(*socket)
		nc, protocol, err = s.listener.Handshake(ctx, to, s.internal && !s.denied)
	}
	if v, ok := nc.(verified); ok && err == nil {
		s.tls, s.clients = true, v.ClientsID()
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	return nc, protocol, err
}

// errCrowded says that the client has too many connections.
var errCrowded = errors.New("the client has too many connections")

// cleartext is the handshake of a listener without one.
func cleartext(_ context.Context, c net.Conn, _ bool) (net.Conn, string, error) {
	return c, protocolHTTP1, nil
}

// Protocols returns what is spoken on a connection, by its names in ALPN, the best first.
func Protocols() []string { return []string{protocolHTTP2, protocolHTTP1} }
