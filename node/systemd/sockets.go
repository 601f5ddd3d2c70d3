package systemd

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Sockets binds the node's addresses, or take them from who started it: systemd hands over those of a
// socket unit, and those that the node before this one left with it (sd_listen_fds(3), sd_notify(3)). So
// nobody is refused while the node is restarted: connections and queries wait for it in the kernel.
type Sockets struct {
	log    *slog.Logger
	handed map[socketName]*os.File
}

// socketName is what a socket is bound to.
type socketName struct {
	network string // tcp or udp
	addr    netip.AddrPort
}

// String is the name that systemd knows the socket by. It may have no colon.
func (n socketName) String() string {
	return n.network + "-" + strings.ReplaceAll(n.addr.String(), ":", "_")
}

// Open takes over the sockets that the process was handed. It can be called once: children must not find them.
func Open(log *slog.Logger) *Sockets {
	s := &Sockets{log: log, handed: map[socketName]*os.File{}}
	for _, f := range activation.Files(true) {
		name, err := nameOf(int(f.Fd()))
		if err != nil {
			log.Warn("a socket that was handed over is of no use", "name", f.Name(), "err", err)
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

// nameOf finds out what a socket is bound to.
func nameOf(fd int) (name socketName, err error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return name, err
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return name, err
	}
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		name.addr = netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port))
	case *unix.SockaddrInet6:
		name.addr = netip.AddrPortFrom(netip.AddrFrom16(at.Addr), uint16(at.Port))
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
		defer f.Close() // the listener has a descriptor of its own
		ln, err := net.FileListener(f)
		if err != nil {
			return nil, err
		}
		return ln.(*net.TCPListener), nil
	}
	ln, err := net.ListenTCP(network, net.TCPAddrFromAddrPort(addr))
	if err == nil {
		s.keep(ln)
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
		return conn.(*net.UDPConn), nil
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err == nil {
		s.keep(conn)
	}
	return conn, err
}

// Has says whether the address was handed over for both TCP and UDP.
func (s *Sockets) Has(addr netip.AddrPort) bool {
	return s.handed[socketName{"tcp", addr}] != nil && s.handed[socketName{"udp", addr}] != nil
}

// take returns the socket that was handed over for an address, or nil. "ListenStream=80" of a socket unit
// is [::]:80, which has IPv4 too. Others that are in the address's way, of settings that have changed, are
// given up.
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
			s.drop(n)
		}
	}
	return nil
}

// CloseUnused closes the sockets that were handed over and that nothing has asked for.
func (s *Sockets) CloseUnused() {
	for n := range s.handed {
		s.drop(n)
	}
}

func (s *Sockets) drop(n socketName) {
	s.log.Warn("a socket that was handed over is not used: no setting has its address", "address", n.addr.String(), "network", n.network)
	s.handed[n].Close()
	delete(s.handed, n)
	if err := tellManager("FDSTOREREMOVE=1\nFDNAME=" + n.String()); err != nil {
		s.log.Warn("cannot take a socket back from systemd", "err", err)
		return
	}
	if err := awaitManager(); err != nil {
		s.log.Warn("systemd does not say whether it has let go of a socket", "err", err)
	}
}

// keep leaves a socket with systemd too, for the next start; nothing where systemd did not start the node.
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

// tellManager sends systemd a message with descriptors (sd_notify(3)).
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

// managerLimit is how long systemd may take to read what it was told.
const managerLimit = 2 * time.Second

// awaitManager returns when systemd has read all that it was told before: it then closes the descriptor
// that comes with BARRIER=1.
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
