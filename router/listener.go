package router

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Listener says how the connections of a listening socket are treated.
type Listener struct {
	Internal bool   // asks the internal table, for local peers only; otherwise the public one
	Scheme   string // "http" or "https"; "" is "http"
	// Handshake prepares an accepted connection, for example by TLS. internal says that the connection may ask the
	// internal table. It returns what to speak on, and the protocol that was agreed on (ALPN). nil is for cleartext,
	// which needs none.
	Handshake func(ctx context.Context, c net.Conn, internal bool) (to net.Conn, protocol string, err error)
	// Port is the TCP port whose route the listener's connections take; 0 is for a listener of HTTP.
	Port uint16
	// HTTPS is the port at which the hosts of a listener for cleartext are answered by TLS; 0 is 443.
	HTTPS uint16
	// HTTP3 is the UDP port at which the hosts of a listener for TLS are answered by HTTP/3, which answers tell (Alt-Svc);
	// 0 is none.
	HTTP3 uint16
	// Inside are local addresses of a public listener on which local peers get the internal table.
	// The connection's own local address decides, nothing that the client says.
	Inside []netip.Addr
}

// Serve accepts connections until ctx ends or Shutdown is called, and then returns nil; it closes ln.
// Connections live on until Shutdown.
func (r *Router) Serve(ctx context.Context, ln net.Listener, l Listener) error {
	if l.Scheme == "" {
		l.Scheme = "http"
	}
	if l.Handshake == nil {
		l.Handshake = cleartext
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	defer ln.Close()
	done := make(chan struct{})
	defer close(done)
	if !r.conns.listening(func() { cancel(); _ = ln.Close(); <-done }) {
		return nil
	}
	for wait := time.Duration(0); ; {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			wait = 0
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.ECONNABORTED):
			continue
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
			// Connections that end give back what is short.
			r.evictIdle()
			if wait = min(max(2*wait, 5*time.Millisecond), time.Second); wait == time.Second {
				r.log.Warn("accepting no connections for a second", "addr", ln.Addr().String(), "err", err)
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			continue
		default:
			return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
		}
		r.admit(nc, &l)
	}
}

// admit serves a connection, where there is room for it.
func (r *Router) admit(nc net.Conn, l *Listener) {
	s := &session{origin: r.origin(nc, l), r: r, listener: l, accepted: nc, since: r.now()}
	if !r.descriptors.take(1) {
		if !r.evictIdle() {
			r.refused(s, "of the router's descriptors", int(r.descriptors.most))
			_ = nc.Close()
			return
		}
		r.descriptors.force()
	}
	if !r.conns.add(s) {
		r.descriptors.give(1)
		_ = nc.Close()
		return
	}
	go s.run()
}

// refused logs, now and then, that there is no room for a connection.
func (r *Router) refused(s *session, limit string, most int) {
	now := r.now()
	if last := r.refusedAt.Load(); (last == 0 || now-last > int64(refusalsEvery)) && r.refusedAt.CompareAndSwap(last, now) {
		r.log.Warn("connections are refused: too many", "limit", limit, "most", most, "client", s.peer.Addr())
	}
}

// lastRequests is how long a shutdown lets clients that are sending one request after the other find out
// by an answer's `Connection: close`. To close at once would cut off requests on their way to us.
const lastRequests = 200 * time.Millisecond

// Shutdown ends the router: no new connections, `Connection: close` on what is still answered, idle
// connections closed a moment later, all others when their request has ended or when ctx ends, whichever
// is first. It returns ctx's error where it cut requests off.
func (r *Router) Shutdown(ctx context.Context) error {
	r.closing.Store(true)
	r.conns.stop()
	none := r.conns.close()
	r.endTunnels()
	defer r.endHTTP3()
	defer r.closeUpstreams()
	defer r.mirrors.close()
	wait := time.NewTimer(lastRequests)
	defer wait.Stop()
	select {
	case <-none:
		return nil
	case <-wait.C:
	case <-ctx.Done():
	}
	r.noWaiting.Store(true)
	r.conns.closeIdle()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
	}
	r.conns.kill()
	<-none
	return ctx.Err()
}

// endTunnels says goodbye to all WebSockets.
func (r *Router) endTunnels() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.table.Load().endpoints.all {
		e.tunnels.goAway(0)
	}
	for _, list := range r.retired {
		for _, e := range list {
			e.tunnels.goAway(0)
		}
	}
}

func (r *Router) closeUpstreams() {
	for _, e := range r.table.Load().endpoints.all {
		e.drain()
	}
}
