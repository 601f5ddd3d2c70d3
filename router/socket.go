package router

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a TCP connection for what is spoken within it, such as TLS. None of its system calls waits, so that the
// scheduler is not told of them: it would wake other threads for nothing.
type socket struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out transfer
	dry     bool // Read returns errDry instead of reading
	looked  bool // the wait under way has looked whether there is something to read
}

// errDry says that nothing is left of what was read from the socket. TLS can go on after it, as after a time limit.
var errDry net.Error = dryError{}

type dryError struct{}

func (dryError) Error() string   { return "nothing is left to read" }
func (dryError) Timeout() bool   { return true }
func (dryError) Temporary() bool { return true }

// newSocket returns c for what is spoken within it.
func newSocket(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	s := &socket{TCPConn: tcp, raw: raw}
	s.in.init(nil)
	s.out.init(nil)
	return s
}

// Read reads what there is into b.
func (s *socket) Read(b []byte) (int, error) {
	if s.dry {
		return 0, errDry
	}
	return s.in.readFrom(s.raw, b)
}

// readRest reads from c, which is spoken within the socket, what has come through the socket before. It returns errDry if
// nothing is left of that.
func (s *socket) readRest(c net.Conn, b []byte) (int, error) {
	s.dry = true
	defer func() { s.dry = false }()
	return c.Read(b)
}

// wait returns when there is something to read, or an error that Read would return. A connection waits here, and not in
// Read, because the stack of a wait within TLS is twice as large.
func (s *socket) wait() error {
	s.looked = false
	return s.raw.Read(s.arrived)
}

// arrived looks once whether there is something to read. It is called again only when something has come.
func (s *socket) arrived(fd uintptr) bool {
	if s.looked {
		return true
	}
	s.looked = true
	var b [1]byte
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	return errno != syscall.EAGAIN
}

// Write writes all of b.
func (s *socket) Write(b []byte) (int, error) { return s.out.writeTo(s.raw, b) }

// transfer is one direction's system call under way, kept here so that it needs no closure of its own.
type transfer struct {
	read, write func(fd uintptr) bool
	b           []byte
	n           int
	errno       syscall.Errno
	bufs        *buffers
	held        *block // made when there is something to read
	size        int
	at          int
	most        int
}

func (t *transfer) init(bufs *buffers) { t.read, t.write, t.bufs = t.tryRead, t.tryWrite, bufs }

// readFrom reads what there is into b.
func (t *transfer) readFrom(c syscall.RawConn, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	t.b = b
	err := c.Read(t.read)
	t.b = nil
	return t.result(err)
}

// writeTo writes all of b. It returns how much the kernel has taken.
func (t *transfer) writeTo(c syscall.RawConn, b []byte) (int, error) {
	t.b, t.n, t.errno = b, 0, 0
	err := c.Write(t.write)
	t.b = nil
	if err == nil && t.errno != 0 {
		err = os.NewSyscallError("write", t.errno)
	}
	return t.n, err
}

func (t *transfer) result(err error) (int, error) {
	switch {
	case err != nil:
		return 0, err
	case t.errno != 0:
		return 0, os.NewSyscallError("read", t.errno)
	case t.n == 0:
		return 0, io.EOF
	}
	return t.n, nil
}

// tryRead reads once. The socket never blocks, so that the scheduler need not be told.
func (t *transfer) tryRead(fd uintptr) bool {
	b := t.b
	if t.size > 0 {
		if t.held == nil {
			t.held = t.bufs.get(t.size)
		}
		b = t.held.b[t.at:min(len(t.held.b), t.at+t.most)]
	}
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			if t.held != nil {
				t.bufs.put(t.held)
				t.held = nil
			}
			return false
		case 0:
			t.n, t.errno = int(n), 0
		default:
			t.n, t.errno = 0, errno
		}
		return true
	}
}

func (t *transfer) tryWrite(fd uintptr) bool {
	for t.n < len(t.b) {
		b := t.b[t.n:]
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		case 0:
			t.n += int(n)
		default:
			t.errno = errno
			return true
		}
	}
	return true
}
