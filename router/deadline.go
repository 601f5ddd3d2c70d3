package router

import (
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Values of a limit that is no time any more.
const (
	expired   = -1 // its time has passed
	cancelled = -2 // somebody ended the wait
)

// readLimit is until when a connection waits for something to read. Its owner arms it, the watch expires it,
// and others may cancel it; whoever comes first wins.
type readLimit struct {
	at    atomic.Int64 // on the router's clock, 0 for none, or one of the above
	armed int64        // what the owner set last
}

// arm sets the limit and tells whether the one before still held.
func (l *readLimit) arm(at int64) bool {
	if !l.at.CompareAndSwap(l.armed, at) {
		return false
	}
	l.armed = at
	return true
}

// set sets the limit, whatever became of the one before; 0 ends it.
func (l *readLimit) set(at int64) {
	l.at.Store(at)
	l.armed = at
}

// extend sets a new limit after one has expired, and tells whether it did: a cancelled wait stays so.
func (l *readLimit) extend(at int64) bool {
	if !l.at.CompareAndSwap(expired, at) {
		return false
	}
	l.armed = at
	return true
}

// renew sets the limit after something has come, however late, and tells whether the wait goes on: not where
// it was cancelled.
func (l *readLimit) renew(at int64) bool { return l.arm(at) || l.extend(at) }

// over tells that the wait has ended, by its time or by somebody.
func (l *readLimit) over() bool { return l.at.Load() < 0 }

// timedOut tells that the time has passed.
func (l *readLimit) timedOut() bool { return l.at.Load() == expired }

func (l *readLimit) cancelled() bool { return l.at.Load() == cancelled }

// pass expires a limit whose time has come.
func (l *readLimit) pass(now int64) bool {
	at := l.at.Load()
	return at > 0 && at <= now && l.at.CompareAndSwap(at, expired)
}

// writeLimit is for how long the peer may take nothing of what is written to it. While it takes something the
// watch extends the limit, so that writing may last as long as it likes.
type writeLimit struct {
	at    atomic.Int64 // on the router's clock, 0 while nothing is written
	stall atomic.Int64

	// The watch's own.
	seen  int64  // the limit that it saw last
	taken uint64 // how much the peer had taken by then
}

func (l *writeLimit) start(now int64, stall time.Duration) {
	l.stall.Store(int64(stall))
	l.at.Store(now + int64(stall))
}

// end ends the limit and tells whether it has held.
func (l *writeLimit) end() bool { return l.at.Swap(0) != expired }

// checkWrite expires the write limit of a peer that has taken nothing since it was set, and extends that of any
// other.
func (w *wire) checkWrite(now int64) {
	l := &w.write
	at := l.at.Load()
	if at <= 0 {
		return
	}
	if at != l.seen {
		l.seen = at
		l.taken, _ = w.progress()
	}
	if at > now {
		return
	}
	if taken, pending := w.progress(); taken != l.taken || !pending {
		l.taken = taken
		if next := now + l.stall.Load(); l.at.CompareAndSwap(at, next) {
			l.seen = next
		}
		return
	}
	if l.at.CompareAndSwap(at, expired) {
		_ = w.SetWriteDeadline(longAgo)
	}
}

// progress returns a number that changes when the peer takes something of what was written, and whether there
// is anything that it has not taken yet.
func (w *wire) progress() (taken uint64, pending bool) {
	if w.socket == nil {
		return 0, true
	}
	pending = true
	_ = w.socket.Control(func(fd uintptr) {
		if !w.inet {
			if n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
				taken, pending = uint64(n), n > 0
			}
		} else if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			taken, pending = info.Bytes_acked, info.Unacked+info.Notsent_bytes > 0
		}
	})
	return taken, pending
}

// longAgo is a deadline that ends a read or write under way.
var longAgo = time.Unix(1, 0)

// cancelRead ends a read under way in another goroutine.
func (w *wire) cancelRead() {
	w.read.at.Store(cancelled)
	_ = w.SetReadDeadline(longAgo)
}

// send writes all of b. It fails where the peer takes nothing for as long as stall. It returns how much the
// kernel has taken.
func (w *wire) send(b []byte, stall time.Duration) (int, error) {
	w.write.start(w.watch.now(), stall)
	n, err := w.Write(b)
	if !w.write.end() {
		return n, os.ErrDeadlineExceeded
	}
	return n, err
}
