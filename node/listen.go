package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/proc"
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// defaultHTTP are the addresses that the router is tried at where none was asked for.
func defaultHTTP() []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(loopback, 80), netip.AddrPortFrom(loopback, 8080)}
}

// listenTCP binds an address, and names the holder of one that is taken.
func (n *Node) listenTCP(what string, a netip.AddrPort) (net.Listener, error) {
	network := "tcp4"
	if a.Addr().Is6() {
		network = "tcp6"
	}
	ln, err := n.sockets.ListenTCP(network, a)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, cloud.Errorf(cloud.Conflict, "%s: port %d of %s is taken by %s", what, a.Port(), a.Addr(), proc.Holder("tcp", a)).
			WithHint("choose another with --%s %s", what, netip.AddrPortFrom(a.Addr(), 8081))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, cloud.Errorf(cloud.Invalid, "%s: this machine has no address %s", what, a.Addr()).WithHint("ip -brief address")
	}
	return nil, cloud.Errorf(cloud.Unavailable, "%s: cannot listen on %s: %w", what, a, err)
}

// dnsTaken names the holder of an address of the DNS server's that is taken. That at the gateway can't be
// chosen: containers ask there.
func dnsTaken(err error, addrs []netip.AddrPort, gateway netip.Addr) error {
	if cloud.CodeOf(err) != cloud.Conflict {
		return err
	}
	for _, a := range addrs {
		for _, protocol := range []string{"udp", "tcp"} {
			if who := proc.Holder(protocol, a); who != proc.Unknown {
				taken := cloud.Errorf(cloud.Conflict, "dns: port %d of %s is taken by %s", a.Port(), a.Addr(), who)
				if a.Addr() == gateway {
					return taken.WithHint("containers ask the node there: have the other one listen on its own addresses instead of all")
				}
				return taken.WithHint("choose another with --dns %s", netip.AddrPortFrom(a.Addr(), 5355))
			}
		}
	}
	return err
}

// listenSocket binds the API's socket for root and the group micro, where that exists.
func listenSocket(path string, gid int) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("cannot replace the API's socket: %w", err)
	}
	// The folder is open to look into, so the socket must never be there with a looser mode.
	old := syscall.Umask(0o177)
	ln, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "cannot listen on %s: %w", path, err)
	}
	if gid >= 0 {
		if err := errors.Join(os.Chown(path, 0, gid), os.Chmod(path, 0o660)); err != nil {
			ln.Close()
			return nil, fmt.Errorf("cannot open the API's socket to group micro: %w", err)
		}
	}
	return ln, nil
}
