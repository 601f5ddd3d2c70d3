package dnsd

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/protoduction/micro/cloud"
)

// Sockets binds addresses as net.ListenTCP and net.ListenUDP do. With socket activation, a node returns the
// sockets that systemd has already bound.
type Sockets interface {
	ListenTCP(network string, addr netip.AddrPort) (*net.TCPListener, error)
	ListenUDP(network string, addr netip.AddrPort) (*net.UDPConn, error)
}

// ownSockets binds new sockets.
type ownSockets struct{}

func (ownSockets) ListenTCP(network string, addr netip.AddrPort) (*net.TCPListener, error) {
	return net.ListenTCP(network, net.TCPAddrFromAddrPort(addr))
}

func (ownSockets) ListenUDP(network string, addr netip.AddrPort) (*net.UDPConn, error) {
	return net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
}

// bind binds an address, which a setting has, for TCP and UDP.
func bind(sockets Sockets, setting string, addr netip.AddrPort) (*udpSocket, *net.TCPListener, error) {
	const tries = 16 // port 0: how many TCP ports to try until the same UDP port is free too
	for try := 1; ; try++ {
		t, err := sockets.ListenTCP(family("tcp", addr), addr)
		if err != nil {
			return nil, nil, bindError(setting, addr, "tcp", err)
		}
		same := netip.AddrPortFrom(addr.Addr(), t.Addr().(*net.TCPAddr).AddrPort().Port())
		u, err := newUDPSocket(sockets, same)
		if err == nil {
			return u, t, nil
		}
		t.Close()
		if addr.Port() != 0 || try == tries {
			return nil, nil, bindError(setting, same, "udp", err)
		}
	}
}

// family returns "tcp4" or "udp4" for an IPv4 address: with "tcp", 0.0.0.0 would bind all IPv6 addresses too.
// [::] binds both families.
func family(network string, addr netip.AddrPort) string {
	if addr.Addr().Is4() {
		return network + "4"
	}
	return network
}

func bindError(setting string, addr netip.AddrPort, network string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return cloud.Errorf(cloud.Conflict, "%s: address %s is already in use (port %d/%s): %w", setting, addr, addr.Port(), network, err).
			WithHint("ss -lnp '( sport = :%d )' names the holder; choose another address with --%s", addr.Port(), setting)
	case errors.Is(err, syscall.EACCES):
		return cloud.Errorf(cloud.Denied, "%s: not allowed to listen on %s: %w", setting, addr, err).WithHint("run as root, or choose a port above 1023 with --%s", setting)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return cloud.Errorf(cloud.Invalid, "%s: this machine has no address %s: %w", setting, addr.Addr(), err).WithHint("ip -br address")
	}
	return cloud.Errorf(cloud.Unavailable, "%s: listen on %s: %w", setting, addr, err)
}

// PickAddr returns the first candidate that can be bound now, by UDP and TCP. A node without --dns calls it
// once with DefaultAddrs and stores the result, because clients are then configured with that address.
func PickAddr(candidates ...netip.AddrPort) (netip.AddrPort, error) {
	var errs []error
	for _, addr := range candidates {
		u, t, err := bind(ownSockets{}, "dns", addr)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		u.close()
		t.Close()
		return addr, nil
	}
	return netip.AddrPort{}, errors.Join(errs...)
}

// DefaultAddrs returns the addresses to try for DNS. The wildcard is not among them: it would take port 53
// from other DNS servers on this machine.
func DefaultAddrs() []netip.AddrPort {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	return []netip.AddrPort{netip.AddrPortFrom(loopback, 53), netip.AddrPortFrom(loopback, 5354)}
}
