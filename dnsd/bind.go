package dnsd

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/protoduction/micro/cloud"
)

// Sockets binds addresses as net.ListenTCP and net.ListenUDP do. A node whose sockets outlive its process
// takes those that are bound already.
type Sockets interface {
	ListenTCP(network string, addr netip.AddrPort) (*net.TCPListener, error)
	ListenUDP(network string, addr netip.AddrPort) (*net.UDPConn, error)
}

// ownSockets are bound by the server for itself.
type ownSockets struct{}

func (ownSockets) ListenTCP(network string, addr netip.AddrPort) (*net.TCPListener, error) {
	return net.ListenTCP(network, net.TCPAddrFromAddrPort(addr))
}

func (ownSockets) ListenUDP(network string, addr netip.AddrPort) (*net.UDPConn, error) {
	return net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
}

// bind takes an address by TCP and by UDP.
func bind(sockets Sockets, addr netip.AddrPort) (*udpSocket, *net.TCPListener, error) {
	const tries = 16 // of free ports, until one is free for both
	for try := 1; ; try++ {
		t, err := sockets.ListenTCP(family("tcp", addr), addr)
		if err != nil {
			return nil, nil, bindError(addr, "tcp", err)
		}
		same := netip.AddrPortFrom(addr.Addr(), t.Addr().(*net.TCPAddr).AddrPort().Port())
		u, err := newUDPSocket(sockets, same)
		if err == nil {
			return u, t, nil
		}
		t.Close()
		if addr.Port() != 0 || try == tries {
			return nil, nil, bindError(same, "udp", err)
		}
	}
}

// family keeps 0.0.0.0 from meaning every IPv6 address too; [::] does mean both.
func family(network string, addr netip.AddrPort) string {
	if addr.Addr().Is4() {
		return network + "4"
	}
	return network
}

func bindError(addr netip.AddrPort, network string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return cloud.Errorf(cloud.Conflict, "dns: address %s is taken (port %d/%s): %w", addr, addr.Port(), network, err).
			WithHint("ss -lnp '( sport = :%d )' names the holder; choose another address with --dns", addr.Port())
	case errors.Is(err, syscall.EACCES):
		return cloud.Errorf(cloud.Denied, "dns: may not listen on %s: %w", addr, err).WithHint("run as root, or choose a port above 1023 with --dns")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return cloud.Errorf(cloud.Invalid, "dns: this machine has no address %s: %w", addr.Addr(), err).WithHint("ip -br address")
	}
	return cloud.Errorf(cloud.Unavailable, "dns: listen on %s: %w", addr, err)
}

// PickAddr returns the first of the addresses that can be bound now, by UDP and TCP. A node that was not
// told where to listen tries DefaultAddrs and remembers what it got: clients have been set up for it.
func PickAddr(candidates ...netip.AddrPort) (netip.AddrPort, error) {
	var errs []error
	for _, addr := range candidates {
		u, t, err := bind(ownSockets{}, addr)
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

// DefaultAddrs are the addresses that DNS is tried at: never the wildcard, which would take port 53 from
// whatever else serves it on this machine.
func DefaultAddrs() []netip.AddrPort {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	return []netip.AddrPort{netip.AddrPortFrom(loopback, 53), netip.AddrPortFrom(loopback, 5354)}
}
