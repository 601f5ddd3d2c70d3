package dnsd

import (
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// yieldEvery is how often a busy reader yields its processor. Go's scheduler takes a processor away from a goroutine that
// has kept it for 10 ms as soon as the goroutine waits in a system call, and then looks every 20 µs for the next one: that
// costs a fifth of the CPU of 40,000 queries a second, and half of that of 1,000.
const yieldEvery = 5 * time.Millisecond

// serveUDP answers the queries of one socket until the server closes.
func (s *Server) serveUDP(u *udpSocket) error {
	b := newBatch(u.wildcard)
	var q Query
	faults := 0
	yielded := time.Now()
	for {
		if now := time.Now(); now.Sub(yielded) > yieldEvery {
			runtime.Gosched()
			yielded = now
		}
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
