package router

import (
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Values of a limit that has ended.
const (
	expired   = -1
	cancelled = -2
)

// readLimit is the time until which a connection waits for data. Its owner sets it, the watch expires it, and others may
// cancel it; the first of them wins.
type readLimit struct {
	at    atomic.Int64 // on the router's clock, 0 for none, or one of the above
	armed int64        // what the owner set last
}

// arm sets a new limit, and reports whether the previous limit had not ended.
func (l *readLimit) arm(at int64) bool {
	if !l.at.CompareAndSwap(l.armed, at) {
		return false
	}
	l.armed = at
	return true
}

// set sets the limit, even if the previous one has ended; 0 removes it.
func (l *readLimit) set(at int64) {
	l.at.Store(at)
	l.armed = at
}

// extend sets a new limit if the previous one has expired, and reports whether it did. A cancelled wait stays cancelled.
func (l *readLimit) extend(at int64) bool {
	if !l.at.CompareAndSwap(expired, at) {
		return false
	}
	l.armed = at
	return true
}

// renew sets a new limit after data has arrived, however late. It returns false if the wait was cancelled.
func (l *readLimit) renew(at int64) bool { return l.arm(at) || l.extend(at) }

// over reports whether the wait has expired or was cancelled.
func (l *readLimit) over() bool { return l.at.Load() < 0 }

// timedOut reports whether the limit has expired.
func (l *readLimit) timedOut() bool { return l.at.Load() == expired }

func (l *readLimit) cancelled() bool { return l.at.Load() == cancelled }

// pass expires a limit whose time has come.
func (l *readLimit) pass(now int64) bool {
	at := l.at.Load()
	return at > 0 && at <= now && l.at.CompareAndSwap(at, expired)
}

// writeLimit is how long a write may stall. The watch extends the limit while the peer takes data, so that a write may take
// any time as long as it progresses.
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

// checkWrite expires the write limit if the peer has taken nothing since it was set; otherwise it extends the limit.
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

// progress returns a number that changes when the peer takes data, and whether there is data that the peer has not taken.
func (w *wire) progress() (taken uint64, pending bool) {
	if w.socket == nil {
		if p, ok := w.Conn.(interface{ Progress() uint64 }); ok {
			taken = p.Progress()
		}
		return taken, true
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

// longAgo is a deadline that ends a running read or write.
var longAgo = time.Unix(1, 0)

// cancelRead ends a running read of another goroutine.
func (w *wire) cancelRead() {
	w.read.at.Store(cancelled)
	_ = w.SetReadDeadline(longAgo)
}

// send writes all of b. It fails if the peer takes nothing for as long as stall. It returns how many bytes the kernel has
// taken.
func (w *wire) send(b []byte, stall time.Duration) (int, error) {
	w.write.start(w.watch.now(), stall)
	n, err := w.Write(b)
	if !w.write.end() {
		return n, os.ErrDeadlineExceeded
	}
	return n, err
}
