package systemd

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Sockets returns sockets for the node's addresses. It uses those that systemd passed to the process: sockets of a
// socket unit, and sockets that the previous process of the node stored with systemd (sd_listen_fds(3),
// sd_notify(3)); and those that the program before this one, in the same process, has left open (Leave). It binds new ones for the other addresses. So no client is refused while the node restarts:
// connections and queries wait in the kernel.
type Sockets struct {
	log    *slog.Logger
	handed map[socketName]*os.File
	// held are duplicates of all sockets' descriptors, which stay open for a program that takes this one's place.
	held []int
}

// socketName is the address of a socket.
type socketName struct {
	network string // tcp or udp
	addr    netip.AddrPort
}

// String is the socket's name in systemd, which must not contain a colon.
func (n socketName) String() string {
	return n.network + "-" + strings.ReplaceAll(n.addr.String(), ":", "_")
}

// Open takes over the sockets that systemd passed to the process. It can be called only once, because it unsets
// the environment variables so that child processes don't use the sockets.
func Open(log *slog.Logger) *Sockets {
	s := &Sockets{log: log, handed: map[socketName]*os.File{}}
	for _, f := range append(activation.Files(true), inherited()...) {
		name, err := nameOf(int(f.Fd()))
		if err != nil {
			log.Warn("cannot use a socket from systemd", "name", f.Name(), "err", err)
			f.Close()
			continue
		}
		if double := s.handed[name]; double != nil {
			double.Close()
		}
		s.handed[name] = f
	}
	return s
}

// inheritedVar has the descriptors of the sockets that the program before this one has left open, after the process ID.
const inheritedVar = "MICRO_SOCKETS"

// inherited returns the sockets that the program before this one, in the same process, has left open.
func inherited() (files []*os.File) {
	pid, list, _ := strings.Cut(os.Getenv(inheritedVar), ":")
	_ = os.Unsetenv(inheritedVar) // never fails
	if pid != strconv.Itoa(os.Getpid()) {
		return nil
	}
	for text := range strings.SplitSeq(list, ",") {
		if fd, err := strconv.Atoi(text); err == nil {
			syscall.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), inheritedVar))
		}
	}
	return files
}

// Leave leaves all sockets open for a program that takes this one's place, and returns what its environment must have.
func (s *Sockets) Leave() (env string, err error) {
	var fds []string
	for _, fd := range s.held {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return "", err
		}
		fds = append(fds, strconv.Itoa(fd))
	}
	return inheritedVar + "=" + strconv.Itoa(os.Getpid()) + ":" + strings.Join(fds, ","), nil
}

// hold keeps a duplicate of a socket.
func (s *Sockets) hold(c syscall.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		s.log.Warn("cannot keep a socket over an upgrade", "err", err)
		return
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		var own int
		if own, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3); failed == nil {
			s.held = append(s.held, own)
		}
	})
	if err = errors.Join(err, failed); err != nil {
		s.log.Warn("cannot keep a socket over an upgrade", "err", err)
	}
}

// nameOf returns the address that a socket is bound to.
func nameOf(fd int) (name socketName, err error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return name, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return name, err
	}
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		name.addr = netip.AddrPortFrom(netip.AddrFrom4(bound.Addr), uint16(bound.Port))
	case *unix.SockaddrInet6:
		name.addr = netip.AddrPortFrom(netip.AddrFrom16(bound.Addr), uint16(bound.Port))
	default:
		return name, errors.New("it has no IP address")
	}
	switch kind {
	case unix.SOCK_STREAM:
		name.network = "tcp"
	case unix.SOCK_DGRAM:
		name.network = "udp"
	default:
		return name, errors.New("it is neither TCP nor UDP")
	}
	return name, nil
}

// ListenTCP implements dnsd.Sockets.
func (s *Sockets) ListenTCP(network string, addr netip.AddrPort) (*net.TCPListener, error) {
	if f := s.take(socketName{"tcp", addr}); f != nil {
		defer f.Close() // the listener has its own descriptor
		ln, err := net.FileListener(f)
		if err != nil {
			return nil, err
		}
		s.hold(ln.(*net.TCPListener))
		return ln.(*net.TCPListener), nil
	}
	ln, err := net.ListenTCP(network, net.TCPAddrFromAddrPort(addr))
	if err == nil {
		s.keep(ln)
		s.hold(ln)
	}
	return ln, err
}

// ListenUDP implements dnsd.Sockets.
func (s *Sockets) ListenUDP(network string, addr netip.AddrPort) (*net.UDPConn, error) {
	if f := s.take(socketName{"udp", addr}); f != nil {
		defer f.Close()
		conn, err := net.FilePacketConn(f)
		if err != nil {
			return nil, err
		}
		s.hold(conn.(*net.UDPConn))
		return conn.(*net.UDPConn), nil
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err == nil {
		s.keep(conn)
		s.hold(conn)
	}
	return conn, err
}

// Has reports whether systemd passed sockets with the address for both TCP and UDP.
func (s *Sockets) Has(addr netip.AddrPort) bool {
	return s.handed[socketName{"tcp", addr}] != nil && s.handed[socketName{"udp", addr}] != nil
}

// take returns the socket from systemd for an address, or nil. "ListenStream=80" in a socket unit is [::]:80, which
// includes IPv4. take closes other sockets that conflict with the address, because the settings have changed.
func (s *Sockets) take(name socketName) *os.File {
	for _, n := range []socketName{name, {name.network, netip.AddrPortFrom(netip.IPv6Unspecified(), name.addr.Port())}} {
		if f := s.handed[n]; f != nil && (n == name || name.addr.Addr() == netip.IPv4Unspecified()) {
			delete(s.handed, n)
			return f
		}
	}
	for n := range s.handed {
		if n.network == name.network && n.addr.Port() == name.addr.Port() &&
			(n.addr.Addr().IsUnspecified() || name.addr.Addr().IsUnspecified()) {
			s.closeUnused(n)
		}
	}
	return nil
}

// CloseUnused closes the sockets from systemd that the node does not use.
func (s *Sockets) CloseUnused() {
	for n := range s.handed {
		s.closeUnused(n)
	}
}

func (s *Sockets) closeUnused(n socketName) {
	s.log.Warn("closing an unused socket from systemd: no setting has its address", "address", n.addr.String(), "network", n.network)
	s.handed[n].Close()
	delete(s.handed, n)
	if err := tellManager("FDSTOREREMOVE=1\nFDNAME=" + n.String()); err != nil {
		s.log.Warn("cannot remove a socket from systemd's store", "err", err)
		return
	}
	if err := awaitManager(); err != nil {
		s.log.Warn("systemd did not confirm that it removed a socket", "err", err)
	}
}

// keep stores a socket with systemd for the next start. It does nothing if systemd did not start the node.
func (s *Sockets) keep(c syscall.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		s.log.Warn("cannot keep a socket over a restart", "err", err)
		return
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		var name socketName
		if name, failed = nameOf(int(fd)); failed == nil {
			failed = tellManager("FDSTORE=1\nFDNAME="+name.String(), int(fd))
		}
	})
	if err = errors.Join(err, failed); err != nil {
		s.log.Warn("cannot keep a socket over a restart", "err", err)
	}
}

// tellManager sends a message with descriptors to systemd (sd_notify(3)).
func tellManager(state string, fds ...int) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	return unix.Sendmsg(fd, []byte(state), rights, &unix.SockaddrUnix{Name: path}, unix.MSG_NOSIGNAL)
}

// managerLimit is how long systemd may take to process a message.
const managerLimit = 2 * time.Second

// awaitManager returns when systemd has processed all earlier messages: it then closes the descriptor that was
// sent with BARRIER=1.
func awaitManager() error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	err = tellManager("BARRIER=1", int(w.Fd()))
	w.Close()
	if err != nil {
		return err
	}
	if err := r.SetReadDeadline(time.Now().Add(managerLimit)); err != nil {
		return err
	}
	if _, err = r.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
