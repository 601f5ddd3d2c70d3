package dnsd

import (
	"fmt"
	"syscall"

	"github.com/miekg/dns"
)

// serveUDP answers the queries of one socket until the server closes.
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
		default: // an error of an earlier answer, such as ECONNREFUSED; if it repeats, the socket is broken
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
				sent++ // skip the client that can't be reached
			}
		}
		if closing {
			return nil
		}
	}
}

// forwardUDP answers the i-th message from the cache, or looks it up in a goroutine.
func (s *Server) forwardUDP(u *udpSocket, b *batch, i int, q *Query) {
	room := b.slots[i].answer[:0]
	if answer, ok := s.cfg.Forward.answerFromCache(room, q); ok {
		_, from := b.message(i)
		b.reply(i, s.record(q, s.letThrough(answer, from.Addr())))
		return
	}
	msg, from := b.message(i)
	own, back := &Query{}, b.replyPath(i)
	own.Parse(append([]byte(nil), msg...))
	s.checkCookie(own, from.Addr())
	w := s.cfg.Forward.startLookup(own, from.Addr())
	if w == nil {
		b.reply(i, s.record(q, serverFailure(room, q, dns.ExtendedErrorCodeOther)))
		return
	}
	s.work.Go(func() { back.send(u.fd, s.record(own, s.letThrough(w.answer(), from.Addr()))) })
}
