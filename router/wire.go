package router

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// wire is a connection whose time limits need no timers, because the watch checks them periodically.
type wire struct {
	net.Conn
	raw    syscall.RawConn // to read and write; nil for one that is no plain socket
	tcp    *net.TCPConn    // to splice; nil for one that can't
	socket syscall.RawConn // to look at: the same, or what the connection is spoken within
	inet   bool            // the socket is TCP's
	under  *socket         // the socket that TLS is spoken within, to wait for; nil for none
	bufs   *buffers
	read   readLimit
	write  writeLimit
	in     transfer
	out    transfer

	look      func(fd uintptr)
	seen      int
	seenErrno syscall.Errno

	watch *watch
	index int       // in the watch
	owner *Endpoint // of an upstream connection
	more  bool      // the last read has filled its buffer, so that there may be more to read at once
	// idleSince is when an upstream connection's last answer had come, on the router's clock.
	idleSince int64

	// Of a client's connection: since when it waits for which upstream, on the router's clock.
	waiting atomic.Int64
	up      atomic.Pointer[wire]
	gone    atomic.Bool // the client went away while it waited
	// halfLimit is how long a client that has ended its sending side is waited for, 0 for any time; halfExpired
	// says that it has passed. halfSince is the watch's: when it saw that the side had ended.
	halfLimit   atomic.Int64
	halfExpired atomic.Bool
	halfSince   int64
}

func newWire(c net.Conn, bufs *buffers, watch *watch, owner *Endpoint) *wire {
	if s, ok := c.(*socket); ok {
		c = s.TCPConn
	}
	w := &wire{Conn: c, bufs: bufs, watch: watch, owner: owner}
	w.tcp, _ = c.(*net.TCPConn)
	w.within(c)
	w.raw = w.socket
	w.in.init(bufs)
	w.out.init(bufs)
	w.look = w.lookAt
	watch.add(w)
	return w
}

// within says which socket the connection is spoken within, for example under TLS.
func (w *wire) within(c net.Conn) {
	switch c := c.(type) {
	case *net.TCPConn:
		w.socket, _ = c.SyscallConn()
		w.inet = true
	case *net.UnixConn:
		w.socket, _ = c.SyscallConn()
	}
}

func (w *wire) close() {
	if w.watch.remove(w) && w.owner != nil {
		w.watch.descriptors.give(1)
	}
	_ = w.Conn.Close() // nothing is left to lose
}

// Read reads what there is into b.
func (w *wire) Read(b []byte) (int, error) {
	for {
		n, err := w.readOnce(b)
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || w.read.over() {
			return n, err
		}
		// The watch came late, for a limit that has been set anew since.
		_ = w.SetReadDeadline(time.Time{})
	}
}

func (w *wire) readOnce(b []byte) (int, error) {
	if w.raw == nil {
		return w.Conn.Read(b)
	}
	return w.in.readFrom(w.raw, b)
}

// first waits for something to read, and only then takes a block of the size to read it in, from at on
// and at most most bytes.
func (w *wire) first(size, at, most int) (*block, int, error) {
	for {
		b, n, err := w.firstOnce(size, at, most)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || w.read.over() {
			return b, n, err
		}
		_ = w.SetReadDeadline(time.Time{})
	}
}

func (w *wire) firstOnce(size, at, most int) (*block, int, error) {
	if s, ok := w.Conn.(waiter); ok {
		if err := s.Wait(); err != nil {
			return nil, 0, err
		}
		b := w.bufs.get(size)
		n, err := s.Read(b.b[at:min(len(b.b), at+most)])
		if n > 0 {
			return b, n, nil
		}
		w.bufs.put(b)
		return nil, 0, err
	}
	if w.raw == nil {
		return w.firstWithin(size, at, most)
	}
	w.in.size, w.in.at, w.in.most = size, at, most
	n, err := w.in.result(w.raw.Read(w.in.read))
	b := w.in.held
	w.in.held, w.in.size = nil, 0
	if err != nil {
		w.bufs.put(b)
		return nil, 0, err
	}
	return b, n, nil
}

// firstWithin is firstOnce for a connection that is no plain socket. One by TLS waits for its socket, and takes a block after
// that. Others hold a block while they wait: only a read tells whether there is something to read.
func (w *wire) firstWithin(size, at, most int) (*block, int, error) {
	if !w.more {
		size = min(size, smallBlock)
		if w.under != nil {
			b, n, err := w.readBlock(size, at, most, func(b []byte) (int, error) { return w.under.readRest(w.Conn, b) })
			if !errors.Is(err, errDry) {
				return b, n, err
			}
			if err := w.under.wait(); err != nil {
				return nil, 0, err
			}
		}
	}
	return w.readBlock(size, at, most, w.Conn.Read)
}

// readBlock reads once into a block.
func (w *wire) readBlock(size, at, most int, read func([]byte) (int, error)) (*block, int, error) {
	b := w.bufs.get(size)
	to := b.b[at:min(len(b.b), at+most)]
	n, err := read(to)
	w.more = n == len(to)
	if n > 0 {
		return b, n, nil
	}
	w.bufs.put(b)
	return nil, 0, err
}

// waiter is a connection that tells when there is something to read.
type waiter interface {
	net.Conn
	Wait() error
}

// Write writes all of b, without a limit of its own. It returns how much the kernel has taken.
func (w *wire) Write(b []byte) (int, error) {
	if w.raw == nil {
		return w.Conn.Write(b)
	}
	return w.out.writeTo(w.raw, b)
}

// stale reports whether an idle connection can't be used: the peer has closed it or sent unsolicited bytes, or it can't be
// checked.
func (w *wire) stale() bool {
	n, errno := w.peek()
	return w.raw == nil || n >= 0 || errno != syscall.EAGAIN
}

// pending tells that the peer has sent something that has not been read.
func (w *wire) pending() bool {
	n, _ := w.peek()
	return n > 0
}

// peek looks at what is there to read without waiting for it or taking it. n is -1 where there is
// nothing, and 0 at the end.
func (w *wire) peek() (n int, errno syscall.Errno) {
	if w.socket == nil {
		return -1, syscall.EAGAIN
	}
	if err := w.socket.Control(w.look); err != nil {
		return -1, syscall.EBADF
	}
	return w.seen, w.seenErrno
}

func (w *wire) lookAt(fd uintptr) {
	var b [1]byte
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	if w.seen, w.seenErrno = int(n), errno; errno != 0 {
		w.seen = -1
	}
}

// grab reads what is there already, after the time for waiting is over.
func (w *wire) grab() (*block, int) {
	if !w.pending() {
		return nil, 0
	}
	_ = w.SetReadDeadline(time.Time{})
	b := w.bufs.get(smallBlock)
	n, err := w.Conn.Read(b.b)
	if err != nil {
		w.bufs.put(b)
		return nil, 0
	}
	return b, n
}

// left tells how the peer has left: closed for good (an error or a reset), or for sending at least.
func (w *wire) left() (reset, half bool) {
	if w.socket == nil {
		return false, false
	}
	_ = w.socket.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(p, 0); n == 1 && err == nil {
			reset = p[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
			half = p[0].Revents&unix.POLLRDHUP != 0
		}
	})
	return reset, half
}

type closeWriter interface{ CloseWrite() error }

// closeWrite ends the sending direction, where the connection has such.
func (w *wire) closeWrite() {
	if c, ok := w.Conn.(closeWriter); ok {
		_ = c.CloseWrite() // the other side may be gone already
	}
}

// linger closes the connection so that a peer that is still sending can read the last answer. A plain close with unread bytes
// would reset the connection, and the peer would lose the answer.
func (w *wire) linger() {
	w.closeWrite()
	_ = w.SetReadDeadline(time.Now().Add(lingerLimit))
	b := w.bufs.get(smallBlock)
	defer w.bufs.put(b)
	for left := lingerBytes; left > 0; {
		n, err := w.Conn.Read(b.b)
		if err != nil {
			break
		}
		left -= n
	}
	w.close()
}

const (
	lingerLimit = 2 * time.Second
	lingerBytes = 1 << 20
)
