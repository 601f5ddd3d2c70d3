package addresses

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/proc"
)

// Sockets binds addresses, or takes over what is bound already.
type Sockets interface {
	ListenTCP(network string, addr netip.AddrPort) (*net.TCPListener, error)
}

// Config says what to bind.
type Config struct {
	HTTP []netip.AddrPort // for internal hosts; without any, the first of Default that is free
	// Default are those of the last start; without any, port 80 or 8080 of loopback.
	Default []netip.AddrPort
	Public  []netip.AddrPort
	Sockets Sockets
}

// Bound are the addresses of a node's router.
type Bound struct {
	// HTTP are the listeners for internal hosts, and Public those for public hosts. A public one on every address
	// of its port takes internal addresses' connections too; see Inside.
	HTTP, Public []net.Listener
	// Internal is where internal hosts are answered, the address for people first.
	Internal []netip.AddrPort
	// GatewayTaken is why containers don't reach the router; nil where they do.
	GatewayTaken error
	// Domain is the private domain. It is set before URLs is called: the store has it, which is opened later.
	Domain cloud.Domain

	cfg        Config
	subnet     netip.Prefix
	gateway    netip.Addr
	neighbours []netip.Prefix // whose networks an internal listener is on
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// Bind binds the addresses for people and machines outside. After an error none of them is bound.
func Bind(cfg Config) (*Bound, error) {
	b := &Bound{cfg: cfg}
	if err := b.bind(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bound) bind() error {
	for _, a := range b.cfg.HTTP {
		if err := b.listenInternal(a); err != nil {
			return err
		}
	}
	if len(b.cfg.HTTP) == 0 {
		candidates := b.cfg.Default
		if len(candidates) == 0 {
			candidates = []netip.AddrPort{netip.AddrPortFrom(loopback, 80), netip.AddrPortFrom(loopback, 8080)}
		}
		if err := b.listenFirst(candidates); err != nil {
			return err
		}
	}
	for _, a := range b.cfg.Public {
		ln, err := b.listen("public-http", a)
		if err != nil {
			return err
		}
		b.Public = append(b.Public, ln)
	}
	return nil
}

// BindGateway binds port 80 of the address that containers know the node by. Where something on this machine has
// that port of every address, as web servers do, apps can't reach each other through the router; that is no
// error, and GatewayTaken says so.
func (b *Bound) BindGateway(subnet netip.Prefix, gateway netip.Addr) error {
	b.subnet, b.gateway = subnet, gateway
	err := b.listenInternal(netip.AddrPortFrom(gateway, 80))
	if cloud.CodeOf(err) == cloud.Conflict {
		b.GatewayTaken, err = err, nil
	}
	for _, network := range b.Networks() {
		b.neighbours = append(b.neighbours, network.Prefix)
	}
	return err
}

// Close gives up all addresses.
func (b *Bound) Close() {
	for _, ln := range append(b.HTTP, b.Public...) {
		ln.Close()
	}
}

// listenFirst binds the first of the addresses that is free, and fails with what is wrong with the last.
func (b *Bound) listenFirst(candidates []netip.AddrPort) (err error) {
	for _, a := range candidates {
		if err = b.listenInternal(a); err == nil || cloud.CodeOf(err) != cloud.Conflict {
			return err
		}
	}
	return err
}

// listenInternal binds an address for internal hosts. Where a public listener has every address of the
// port, that one takes the connections, and the address that they came to decides which table they ask.
func (b *Bound) listenInternal(a netip.AddrPort) error {
	for _, p := range b.cfg.Public {
		if p.Port() == a.Port() && p.Addr().IsUnspecified() {
			b.Internal = append(b.Internal, a)
			return nil
		}
	}
	ln, err := b.listen("http", a)
	if err != nil {
		return err
	}
	b.HTTP = append(b.HTTP, ln)
	bound, err := netip.ParseAddrPort(ln.Addr().String())
	if err != nil {
		return err
	}
	b.Internal = append(b.Internal, bound)
	return nil
}

// listen binds an address, and names the holder of one that is taken. flag is the setting that chooses it.
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
			WithHint("choose another with --%s %s", flag, netip.AddrPortFrom(a.Addr(), 8081))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, cloud.Errorf(cloud.Invalid, "%s: this machine has no address %s", flag, a.Addr()).WithHint("ip -brief address")
	}
	return nil, cloud.Errorf(cloud.Unavailable, "%s: cannot listen on %s: %w", flag, a, err)
}
