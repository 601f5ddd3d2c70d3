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

// Sockets binds addresses, or returns sockets that are already bound to them.
type Sockets interface {
	ListenTCP(network string, addr netip.AddrPort) (*net.TCPListener, error)
	ListenUDP(network string, addr netip.AddrPort) (*net.UDPConn, error)
}

// Config says which addresses to bind.
type Config struct {
	HTTP []netip.AddrPort // for internal hosts; if empty, the first free one of Default
	// Default are the addresses of the last start; if empty, port 80 or 8080 of loopback.
	Default []netip.AddrPort
	Public  []netip.AddrPort
	// HTTPS, DefaultHTTPS and PublicHTTPS are the same for TLS. Without any HTTPS it is port 443 or 8443 of the addresses
	// for HTTP; where neither is free there is none.
	HTTPS, DefaultHTTPS []netip.AddrPort
	PublicHTTPS         []netip.AddrPort
	// HTTP3 binds the UDP port of each listener for TLS too, but for the one of containers.
	HTTP3   bool
	Sockets Sockets
}

// Bound has the bound addresses of a node's router.
type Bound struct {
	// HTTP are the listeners for internal hosts, and Public those for public hosts. A public listener on all
	// addresses also gets connections to internal addresses of the same port; see InternalAddrs.
	HTTP, Public []net.Listener
	// HTTPS and PublicHTTPS are the same for TLS.
	HTTPS, PublicHTTPS []net.Listener
	// HTTP3 are the UDP sockets beside the listeners for TLS.
	HTTP3 []Datagrams
	// Internal are the addresses for internal hosts, the one for users first; Secure are those for TLS.
	Internal, Secure []netip.AddrPort
	// GatewayTaken is the reason why containers can't reach the router; SecureTaken why users can't reach it by
	// TLS, and SecureGatewayTaken why containers can't by TLS. Each is nil if they can.
	GatewayTaken, SecureTaken, SecureGatewayTaken error
	// Domain is the private domain. The caller sets it before URLs is called, after opening the store.
	Domain cloud.Domain

	cfg        Config
	subnet     netip.Prefix
	gateway    netip.Addr
	neighbours []netip.Prefix // networks of the internal listeners
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// Bind binds the addresses for users and other machines. After an error none of them is bound.
func Bind(cfg Config) (*Bound, error) {
	b := &Bound{cfg: cfg}
	if err := b.bind(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bound) bind() error {
	if err := b.bindInternal(); err != nil {
		return err
	}
	for _, public := range []struct {
		flag  string
		addrs []netip.AddrPort
		to    *[]net.Listener
	}{{"public-http", b.cfg.Public, &b.Public}, {"public-https", b.cfg.PublicHTTPS, &b.PublicHTTPS}} {
		for _, a := range public.addrs {
			ln, err := b.listen(public.flag, a)
			if err != nil {
				return err
			}
			*public.to = append(*public.to, ln)
		}
	}
	return b.bindHTTP3()
}

func (b *Bound) bindInternal() error {
	for _, a := range b.cfg.HTTP {
		if err := b.listenInternal(a, false); err != nil {
			return err
		}
	}
	for _, a := range b.cfg.HTTPS {
		if err := b.listenInternal(a, true); err != nil {
			return err
		}
	}
	if len(b.cfg.HTTP) == 0 {
		candidates := b.cfg.Default
		if len(candidates) == 0 {
			candidates = []netip.AddrPort{netip.AddrPortFrom(loopback, 80), netip.AddrPortFrom(loopback, 8080)}
		}
		if err := b.listenFirst(candidates, false); err != nil {
			return err
		}
	}
	if len(b.cfg.HTTPS) > 0 {
		return nil
	}
	// Where a name leads for HTTP it must lead for HTTPS.
	var bound []netip.Addr
	for _, a := range b.Internal {
		if ip := a.Addr(); !slices.Contains(bound, ip) {
			bound = append(bound, ip)
			if err := b.listenSecure(ip); err != nil {
				return err
			}
		}
	}
	return nil
}

// listenSecure binds an address for TLS that nobody asked for, at the port of the last start if that is free.
func (b *Bound) listenSecure(ip netip.Addr) error {
	var candidates []netip.AddrPort
	for _, a := range b.cfg.DefaultHTTPS {
		if a.Addr() == ip {
			candidates = append(candidates, a)
		}
	}
	for _, port := range []uint16{443, 8443} {
		candidates = append(candidates, netip.AddrPortFrom(ip, port))
	}
	err := b.listenFirst(candidates, true)
	if cloud.CodeOf(err) == cloud.Conflict {
		b.SecureTaken, err = err, nil
	}
	return err
}

// BindGateway binds ports 80 and 443 of the node's address for containers. If another program on this machine
// listens on such a port of all addresses, as web servers do, apps can't reach each other through the router. Then
// BindGateway sets GatewayTaken or SecureGatewayTaken and returns no error.
func (b *Bound) BindGateway(subnet netip.Prefix, gateway netip.Addr) error {
	b.subnet, b.gateway = subnet, gateway
	err := b.listenInternal(netip.AddrPortFrom(gateway, 80), false)
	if cloud.CodeOf(err) == cloud.Conflict {
		b.GatewayTaken, err = err, nil
	}
	if err != nil {
		return err
	}
	err = b.listenInternal(netip.AddrPortFrom(gateway, 443), true)
	if cloud.CodeOf(err) == cloud.Conflict {
		b.SecureGatewayTaken, err = err, nil
	}
	for _, network := range b.Networks() {
		b.neighbours = append(b.neighbours, network.Prefix)
	}
	return err
}

// Close closes all listeners.
func (b *Bound) Close() {
	for _, ln := range slices.Concat(b.HTTP, b.Public, b.HTTPS, b.PublicHTTPS) {
		ln.Close()
	}
	for _, d := range b.HTTP3 {
		d.Close()
	}
}

// listenFirst binds the first free address. If none is free, it returns the error for the last one.
func (b *Bound) listenFirst(candidates []netip.AddrPort, secure bool) (err error) {
	for _, a := range candidates {
		if err = b.listenInternal(a, secure); err == nil || cloud.CodeOf(err) != cloud.Conflict {
			return err
		}
	}
	return err
}

// listenInternal binds an address for internal hosts. If a public listener is on all addresses of the port, that
// listener gets the connections, and their local address decides which hosts they can reach.
func (b *Bound) listenInternal(a netip.AddrPort, secure bool) error {
	flag, public, listeners, addrs := "http", b.cfg.Public, &b.HTTP, &b.Internal
	if secure {
		flag, public, listeners, addrs = "https", b.cfg.PublicHTTPS, &b.HTTPS, &b.Secure
	}
	for _, p := range public {
		if p.Port() == a.Port() && p.Addr().IsUnspecified() {
			*addrs = append(*addrs, a)
			return nil
		}
	}
	ln, err := b.listen(flag, a)
	if err != nil {
		return err
	}
	*listeners = append(*listeners, ln)
	bound, err := netip.ParseAddrPort(ln.Addr().String())
	if err != nil {
		return err
	}
	*addrs = append(*addrs, bound)
	return nil
}

// listen binds an address. If it is in use, the error names the process that has it. flag is the setting that
// chose the address.
func (b *Bound) listen(flag string, a netip.AddrPort) (net.Listener, error) {
	network := "tcp4"
	if a.Addr().Is6() {
		network = "tcp6"
	}
	ln, err := b.cfg.Sockets.ListenTCP(network, a)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, cloud.Errorf(cloud.Conflict, "%s: port %d of %s is taken by %s", flag, a.Port(), a.Addr(), proc.Holder("tcp", a)).
			WithHint("choose another with --%s %s", flag, netip.AddrPortFrom(a.Addr(), otherPort[flag]))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, cloud.Errorf(cloud.Invalid, "%s: this machine has no address %s", flag, a.Addr()).WithHint("ip -brief address")
	}
	return nil, cloud.Errorf(cloud.Unavailable, "%s: cannot listen on %s: %w", flag, a, err)
}

// otherPort is a port that is likely to be free, for each flag.
var otherPort = map[string]uint16{"http": 8081, "public-http": 8081, "https": 8444, "public-https": 8444}
