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

// A routed TCP port is open on the addresses where the router answers people: those for internal hosts, and with public
// also those for public ones. Containers reach each other without it.

// portAddrs returns the addresses of a routed port, and which of them are for internal clients alone. A wildcard stands
// for all that it covers.
func (b *Bound) portAddrs(port uint16, public bool) (addrs []netip.AddrPort, internal []bool) {
	add := func(a netip.Addr, inside bool) {
		to := netip.AddrPortFrom(a, port)
		covered := func(o netip.AddrPort) bool { return o == to || o.Addr().IsUnspecified() && o.Addr().Is4() == a.Is4() }
		if !slices.ContainsFunc(addrs, covered) {
			addrs, internal = append(addrs, to), append(internal, inside)
		}
	}
	if public {
		for _, wildcards := range []bool{true, false} {
			for _, ln := range slices.Concat(b.Public, b.PublicHTTPS) {
				if a, err := netip.ParseAddrPort(ln.Addr().String()); err == nil && a.Addr().IsUnspecified() == wildcards {
					add(a.Addr(), false)
				}
			}
		}
	}
	for _, a := range slices.Concat(b.Internal, b.Secure) {
		if a.Addr() != b.gateway {
			add(a.Addr(), true)
		}
	}
	return addrs, internal
}

// PortListener listens on a routed port.
type PortListener struct {
	net.Listener
	Internal bool // for internal clients alone
}

// ListenPort opens a routed port on all of its addresses, or on none.
func (b *Bound) ListenPort(port uint16, public bool) (all []PortListener, err error) {
	addrs, internal := b.portAddrs(port, public)
	for i, a := range addrs {
		ln, err := listenOn(a)
		if err != nil {
			for _, open := range all {
				_ = open.Close()
			}
			return nil, err
		}
		all = append(all, PortListener{ln, internal[i]})
	}
	return all, nil
}

// listenOn opens a port for a route. Its error names who has it.
func listenOn(a netip.AddrPort) (net.Listener, error) {
	network := "tcp4"
	if a.Addr().Is6() {
		network = "tcp6"
	}
	ln, err := net.ListenTCP(network, net.TCPAddrFromAddrPort(a))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, cloud.Errorf(cloud.Conflict, "port %d of %s is taken by %s", a.Port(), a.Addr(), proc.Holder("tcp", a)).WithHint("choose another port")
	case err != nil:
		return nil, cloud.Errorf(cloud.Unavailable, "cannot listen on %s: %w", a, err)
	}
	return ln, nil
}

// portURLs returns what opens a routed port: that of public addresses, or of internal ones.
func (b *Bound) portURLs(port uint16, public bool) (urls []string) {
	addrs, internal := b.portAddrs(port, public)
	for i, a := range addrs {
		if internal[i] != public {
			urls = append(urls, "tcp://"+a.String())
		}
	}
	return urls
}
