package addresses

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/proc"
)

// Datagrams is a UDP socket for HTTP/3.
type Datagrams struct {
	*net.UDPConn
	TCP    net.Listener // the listener for TLS with the same address
	Public bool
}

// bindHTTP3 binds the UDP port of each listener for TLS, where that is wanted.
func (b *Bound) bindHTTP3() error {
	if !b.cfg.HTTP3 {
		return nil
	}
	for i, ln := range slices.Concat(b.HTTPS, b.PublicHTTPS) {
		a, err := netip.ParseAddrPort(ln.Addr().String())
		if err != nil {
			return err
		}
		network := "udp4"
		if a.Addr().Is6() {
			network = "udp6"
			if takesIPv4(ln) {
				network = "udp"
			}
		}
		conn, err := b.cfg.Sockets.ListenUDP(network, a)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return cloud.Errorf(cloud.Conflict, "http3: UDP port %d of %s is taken by %s", a.Port(), a.Addr(), proc.Holder("udp", a)).
				WithHint("choose other ports with --https and --public-https, or leave out --http3")
		case err != nil:
			return cloud.Errorf(cloud.Unavailable, "http3: cannot listen on UDP port %d of %s: %w", a.Port(), a.Addr(), err)
		}
		b.HTTP3 = append(b.HTTP3, Datagrams{conn, ln, i >= len(b.HTTPS)})
	}
	if len(b.HTTP3) == 0 {
		return cloud.Errorf(cloud.Invalid, "http3: nothing is answered by TLS here").WithHint("micro up --https or --public-https with a free port")
	}
	return nil
}

// HTTP3Port returns the UDP port at which the hosts of a listener for TLS are answered by HTTP/3; 0 for none.
func (b *Bound) HTTP3Port(ln net.Listener) uint16 {
	for _, d := range b.HTTP3 {
		if a, ok := d.LocalAddr().(*net.UDPAddr); ok && d.TCP == ln {
			return uint16(a.Port)
		}
	}
	return 0
}

// answersHTTP3 reports whether the hosts at an address for TLS are answered by HTTP/3 too.
func (b *Bound) answersHTTP3(a netip.AddrPort) bool {
	return slices.ContainsFunc(b.HTTP3, func(d Datagrams) bool {
		udp, ok := d.LocalAddr().(*net.UDPAddr)
		if !ok || udp.Port != int(a.Port()) {
			return false
		}
		at := udp.AddrPort().Addr().Unmap()
		return at == a.Addr() || at.IsUnspecified() && (at.Is4() == a.Addr().Is4() || at.Is6() && takesIPv4(d.TCP))
	})
}
