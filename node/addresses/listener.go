package addresses

import (
	"net"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listener is an address that the router listens on.
type Listener struct {
	netip.AddrPort
	Public bool
	TLS    bool
	// Both reports whether a listener on all IPv6 addresses gets IPv4 too, as a socket from systemd does.
	Both bool
}

// Listeners returns all addresses of the router.
func (b *Bound) Listeners() (list []Listener) {
	for _, side := range []struct {
		tls      bool
		internal []netip.AddrPort
		public   []net.Listener
	}{{false, b.Internal, b.Public}, {true, b.Secure, b.PublicHTTPS}} {
		for _, a := range side.internal {
			list = append(list, Listener{AddrPort: a, TLS: side.tls})
		}
		for _, ln := range side.public {
			if a, err := netip.ParseAddrPort(ln.Addr().String()); err == nil {
				list = append(list, Listener{AddrPort: a, Public: true, TLS: side.tls, Both: a.Addr().Is6() && takesIPv4(ln)})
			}
		}
	}
	return list
}

// InternalAddrs returns the addresses of a public listener at which neighbours can reach internal hosts.
func (b *Bound) InternalAddrs(ln net.Listener) (inside []netip.Addr) {
	bound, err := netip.ParseAddrPort(ln.Addr().String())
	if err != nil || !bound.Addr().IsUnspecified() {
		return nil
	}
	for _, a := range slices.Concat(b.Internal, b.Secure) {
		if a.Port() == bound.Port() {
			inside = append(inside, a.Addr())
		}
	}
	return inside
}

// takesIPv4 reports whether a listener on all IPv6 addresses gets IPv4 connections too (ipv6(7)).
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

// People returns the addresses where internal hosts are answered by TLS, but for the one of containers.
func (b *Bound) People() (addrs []netip.AddrPort) {
	for _, a := range b.Secure {
		if a.Addr() != b.gateway {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// SecurePort returns the port at which the hosts of a listener for cleartext are answered by TLS: of the same address
// if possible. 0 is none.
func (b *Bound) SecurePort(ln net.Listener, public bool) uint16 {
	at, err := netip.ParseAddrPort(ln.Addr().String())
	if err != nil {
		return 0
	}
	addrs := b.Secure
	if public {
		addrs = nil
		for _, other := range b.PublicHTTPS {
			if a, err := netip.ParseAddrPort(other.Addr().String()); err == nil {
				addrs = append(addrs, a)
			}
		}
	}
	for _, a := range addrs {
		if a.Addr() == at.Addr() {
			return a.Port()
		}
	}
	if len(addrs) == 0 {
		return 0
	}
	return addrs[0].Port()
}
