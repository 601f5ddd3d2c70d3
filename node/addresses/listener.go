package addresses

import (
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listener is an address that the router listens on.
type Listener struct {
	netip.AddrPort
	Public bool
	// Both says that one on all IPv6 addresses is on all of IPv4 too: a socket of systemd's is.
	Both bool
}

// Listeners returns all addresses of the router.
func (b *Bound) Listeners() (list []Listener) {
	for _, a := range b.Internal {
		list = append(list, Listener{AddrPort: a})
	}
	for _, ln := range b.Public {
		if a, err := netip.ParseAddrPort(ln.Addr().String()); err == nil {
			list = append(list, Listener{AddrPort: a, Public: true, Both: a.Addr().Is6() && takesIPv4(ln)})
		}
	}
	return list
}

// Inside returns the addresses of a public listener on which neighbours get internal hosts.
func (b *Bound) Inside(ln net.Listener) (inside []netip.Addr) {
	at, err := netip.ParseAddrPort(ln.Addr().String())
	if err != nil || !at.Addr().IsUnspecified() {
		return nil
	}
	for _, a := range b.Internal {
		if a.Port() == at.Port() {
			inside = append(inside, a.Addr())
		}
	}
	return inside
}

// takesIPv4 says whether a listener on all IPv6 addresses gets connections by IPv4 too (ipv6(7)).
func takesIPv4(ln net.Listener) bool {
	conn, ok := ln.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	only := 1
	err = raw.Control(func(fd uintptr) {
		if v, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err == nil {
			only = v
		}
	})
	return err == nil && only == 0
}
