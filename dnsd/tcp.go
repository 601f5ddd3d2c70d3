package dnsd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	tcpIdle      = 10 * time.Second // between queries (RFC 7766, section 6.2.3)
	tcpWrite     = 5 * time.Second
	tcpConns     = 512 // open at once
	tcpPerClient = 64
	tcpPipeline  = 32 // queries of one connection that are forwarded at the same time
)

// connections is the set of open connections, with their number per client.
type connections struct {
	mu        sync.Mutex
	open      map[*net.TCPConn]bool
	perClient map[netip.Addr]int
	closed    bool
}

// add records a connection, unless a limit is reached: then it returns false.
func (c *connections) add(conn *net.TCPConn, client netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.open) >= tcpConns || c.perClient[client] >= tcpPerClient {
		return false
	}
	c.open[conn] = true
	c.perClient[client]++
	return true
}

func (c *connections) remove(conn *net.TCPConn, client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
	if c.perClient[client]--; c.perClient[client] == 0 {
		delete(c.perClient, client)
	}
}

func (c *connections) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.open {
		conn.Close()
	}
}

func (s *Server) serveTCP(ctx context.Context, l *net.TCPListener) error {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			if s.closing.Load() || errors.Is(err, net.ErrClosed) {
				return err
			}
			// Out of file descriptors, or the client has already left: neither may end the server.
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		client := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		counted := client
		if !s.cfg.Public && s.views.Find(client).Class == Outside {
			counted = netip.Addr{} // count all outside clients as one, so that they can't use up all connections
		}
		if !s.conns.add(conn, counted) {
			conn.Close()
			continue
		}
		s.work.Go(func() {
			defer s.conns.remove(conn, counted)
			defer conn.Close()
			s.serveConn(conn, client)
		})
	}
}

// serveConn answers the queries of one connection until the client closes it or sends nothing for tcpIdle.
// Answers to forwarded queries may be sent out of order (RFC 7766, section 6.2.1.1).
func (s *Server) serveConn(conn *net.TCPConn, client netip.Addr) {
	var lookups sync.WaitGroup
	defer lookups.Wait()
	out := &tcpWriter{conn: conn}
	slots := make(chan struct{}, tcpPipeline)
	in := bufio.NewReaderSize(conn, 1024)
	q := &Query{Stream: true}
	var length [2]byte
	for {
		if conn.SetReadDeadline(time.Now().Add(tcpIdle)) != nil {
			return
		}
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(in, msg); err != nil {
			return
		}
		answer, v := s.handle(nil, q, msg, client)
		if v == forwarded {
			var ok bool
			if answer, ok = s.cfg.Forward.answerFromCache(nil, q); !ok {
				asked := q
				q = &Query{Stream: true}
				slots <- struct{}{}
				lookups.Go(func() {
					out.write(s.lookup(asked, client))
					<-slots
				})
				continue
			}
			s.record(q, s.letThrough(answer, client))
		}
		if v == dropped || !out.write(answer) {
			return
		}
	}
}

// lookup answers one query by the forwarder, with SERVFAIL if a limit is reached.
func (s *Server) lookup(q *Query, client netip.Addr) []byte {
	w := s.cfg.Forward.startLookup(q, client)
	if w == nil {
		return s.record(q, serverFailure(nil, q, dns.ExtendedErrorCodeOther))
	}
	return s.record(q, s.letThrough(w.answer(), client))
}

// tcpWriter writes whole messages for several goroutines.
type tcpWriter struct {
	mu   sync.Mutex
	conn *net.TCPConn
}

// write sends a message and reports whether that succeeded. Length and message are sent in one segment (RFC
// 7766, section 8).
func (w *tcpWriter) write(msg []byte) bool {
	framed := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg))), msg...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn.SetWriteDeadline(time.Now().Add(tcpWrite)) != nil {
		return false
	}
	_, err := w.conn.Write(framed)
	return err == nil
}
