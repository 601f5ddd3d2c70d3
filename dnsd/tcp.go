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
	tcpPipeline  = 32 // queries of one connection that are looked up elsewhere at the same time
)

// connections are those open now: all of them, and how many each client has.
type connections struct {
	mu     sync.Mutex
	open   map[*net.TCPConn]bool
	of     map[netip.Addr]int
	closed bool
}

// add reports whether the client may have one more.
func (c *connections) add(conn *net.TCPConn, client netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.open) >= tcpConns || c.of[client] >= tcpPerClient {
		return false
	}
	c.open[conn] = true
	c.of[client]++
	return true
}

func (c *connections) remove(conn *net.TCPConn, client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
	if c.of[client]--; c.of[client] == 0 {
		delete(c.of, client)
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
			// Out of files, or the client is gone again: neither may end the server.
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		client := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		counted := client
		if s.views.Of(client).Class == Outside {
			counted = netip.Addr{} // all of them together are one client: they can't crowd out the others
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

// serveConn answers the queries of one connection until the client closes it or says nothing for
// tcpIdle. Answers that others must be asked for come when they come (RFC 7766, section 6.2.1.1).
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
			if answer, ok = s.cfg.Forward.cached(nil, q); !ok {
				asked := q
				q = &Query{Stream: true}
				slots <- struct{}{}
				lookups.Go(func() {
					out.write(s.lookup(asked, client))
					<-slots
				})
				continue
			}
			s.record(q, answer)
		}
		if v == dropped || !out.write(answer) {
			return
		}
	}
}

// lookup has the forwarder answer one query, if it has room.
func (s *Server) lookup(q *Query, client netip.Addr) []byte {
	w := s.cfg.Forward.begin(q, client)
	if w == nil {
		return s.record(q, failed(nil, q, dns.ExtendedErrorCodeOther))
	}
	return s.record(q, w.answer())
}

// tcpWriter writes whole messages.
type tcpWriter struct {
	mu   sync.Mutex
	conn *net.TCPConn
}

// write reports whether the connection is still good. Length and message go out in one segment (RFC
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
