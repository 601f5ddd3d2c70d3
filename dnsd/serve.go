package dnsd

import (
	"fmt"
	"syscall"

	"github.com/miekg/dns"
)

// serveUDP answers what comes to one socket until it is woken to end.
func (s *Server) serveUDP(u *udpSocket) error {
	b := newBatch(u.wildcard)
	var q Query
	faults := 0
	for {
		n, errno := b.receive(u.fd)
		closing := s.closing.Load()
		switch {
		case closing && (errno != 0 || n == 0):
			return nil
		case errno == 0:
			faults = 0
		case errno == syscall.EINTR:
			continue
		default: // left by an earlier answer, such as ECONNREFUSED; else the socket is broken
			if faults++; faults > 1000 {
				return fmt.Errorf("read dns queries at %s: %w", u.addr, errno)
			}
			continue
		}
		b.replies = 0
		for i := range n {
			msg, from := b.message(i)
			answer, v := s.handle(b.slots[i].answer[:0], &q, msg, from.Addr())
			switch v {
			case answered:
				b.reply(i, answer)
			case forwarded:
				s.forwardUDP(u, b, i, &q)
			case dropped:
			}
		}
		for sent := 0; sent < b.replies; {
			n, errno := b.send(u.fd, sent)
			switch errno {
			case 0:
				sent += n
			case syscall.EINTR:
			default:
				sent++ // no way to this one client
			}
		}
		if closing {
			return nil
		}
	}
}

// forwardUDP answers the i-th message from the cache, or has it looked up beside the reader.
func (s *Server) forwardUDP(u *udpSocket, b *batch, i int, q *Query) {
	room := b.slots[i].answer[:0]
	if answer, ok := s.cfg.Forward.cached(room, q); ok {
		b.reply(i, s.record(q, answer))
		return
	}
	msg, from := b.message(i)
	own, back := &Query{}, b.wayBack(i)
	own.Parse(append([]byte(nil), msg...))
	s.checkCookie(own, from.Addr())
	w := s.cfg.Forward.begin(own, from.Addr())
	if w == nil {
		b.reply(i, s.record(q, failed(room, q, dns.ExtendedErrorCodeOther)))
		return
	}
	s.work.Go(func() { back.send(u.fd, s.record(own, w.answer())) })
}
