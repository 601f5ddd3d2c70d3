package router

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"unsafe"

	"github.com/protoduction/micro/router/h1"
)

// origin is a request's client and what it may access.
type origin struct {
	peer   netip.AddrPort
	client []byte // the peer's address as text
	// "for=" of Forwarded: an IPv6 address in brackets and quotes.
	forwardedFor []byte
	scheme       string
	inside       bool // arrived at an address for internal hosts
	internal     bool // use the internal table
	denied       bool // arrived at an internal address from a peer that must not use it
	loopback     bool
	trusted      bool   // a trusted proxy
	tls          bool   // the connection itself is by TLS
	clients      string // ID of the Clients that have verified its certificate
}

// addressed is a connection between two addresses.
type addressed interface {
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// origin returns the origin of a connection.
func (r *Router) origin(nc addressed, l *Listener) origin {
	o := origin{scheme: l.Scheme, peer: addrPort(nc.RemoteAddr())}
	o.inside = l.Internal || slices.Contains(l.Inside, addrPort(nc.LocalAddr()).Addr())
	peer := o.peer.Addr()
	o.loopback = peer.IsLoopback()
	known := o.loopback || r.local(peer)
	// A public listener uses the public table for other peers, even at an internal address.
	o.internal = l.Internal || known && o.inside
	o.denied = o.internal && !known
	o.name(r)
	return o
}

// name makes what follows from the peer's address alone.
func (o *origin) name(r *Router) {
	peer := o.peer.Addr()
	o.trusted = containsAddr(r.proxies, peer)
	o.client = peer.AppendTo(nil)
	if peer.Is4() {
		o.forwardedFor = append([]byte("for="), o.client...)
		return
	}
	o.forwardedFor = append([]byte("for=\"["), o.client...)
	o.forwardedFor = append(o.forwardedFor, "]\""...)
}

func containsAddr(networks []netip.Prefix, a netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// become replaces a trusted proxy by its client. The client gets internal hosts only if it would get them without the proxy,
// and otherwise public hosts.
func (o *origin) become(r *Router, client netip.AddrPort) {
	o.peer = client
	o.loopback = o.loopback && client.Addr().IsLoopback()
	o.internal = o.inside && (o.loopback || r.local(client.Addr()))
	o.denied = false
}

// seeThrough takes the client and the scheme from the fields of a trusted proxy's request, and uses them for the exchange.
func (x *exchange) seeThrough() {
	r := x.c.r
	x.seen = x.c.origin
	x.from = &x.seen
	client, scheme := forwardedBy(x, r.proxies)
	if client.IsValid() {
		x.seen.become(r, netip.AddrPortFrom(client, 0))
		x.seen.client = client.AppendTo(x.clientText[:0])
	}
	if scheme != "" {
		x.seen.scheme = scheme
	}
	x.Client, x.Internal, x.Scheme = x.seen.peer, x.seen.internal, x.seen.scheme
}

// forwardedBy reads who a trusted proxy says the client is, and by which scheme it came. The fields that most
// proxies write go before Forwarded (RFC 7239), which these pass on as the client wrote it.
func forwardedBy(f fields, proxies []netip.Prefix) (client netip.Addr, scheme string) {
	client, found := lastStranger(f, proxies, "x-forwarded-for", nil)
	if !found {
		client, _ = lastStranger(f, proxies, "forwarded", []byte("for"))
	}
	proto := lastOf(f.field("x-forwarded-proto", 0), ',')
	if len(proto) == 0 {
		proto = parameter(lastOf(f.field("forwarded", 0), ','), []byte("proto"))
	}
	switch {
	case h1.EqualFold(proto, "https"), h1.EqualFold(proto, "wss"):
		scheme = "https"
	case h1.EqualFold(proto, "http"), h1.EqualFold(proto, "ws"):
		scheme = "http"
	}
	return client, scheme
}

// lastStranger returns the last address of a list that is not a trusted proxy's, and whether there is a list. Each proxy
// appends the address of its peer, so everything before an untrusted address is only a claim. If all addresses are trusted,
// it returns the first. With a name, the addresses are parameters of that name.
func lastStranger(f fields, proxies []netip.Prefix, field string, name []byte) (client netip.Addr, found bool) {
	n := 0
	for f.field(field, n) != nil {
		n++
	}
	for i := n - 1; i >= 0; i-- {
		for rest := f.field(field, i); len(rest) > 0; {
			item := lastOf(rest, ',')
			rest = rest[:max(0, bytes.LastIndexByte(rest, ','))]
			if len(item) == 0 {
				continue
			}
			if name != nil {
				item = parameter(item, name)
			}
			a, ok := parseNode(item)
			if !ok {
				return client, true // nothing before it can be told
			}
			client = a
			if !containsAddr(proxies, a) {
				return client, true
			}
		}
	}
	return client, n > 0
}

// lastOf returns the last item of a list.
func lastOf(list []byte, separator byte) []byte {
	return bytes.TrimSpace(list[bytes.LastIndexByte(list, separator)+1:])
}

// parameter returns the value of a parameter of "for=192.0.2.1;proto=https", without quotes; nil for none.
func parameter(item, name []byte) []byte {
	for len(item) > 0 {
		var pair []byte
		pair, item, _ = bytes.Cut(item, []byte(";"))
		key, value, _ := bytes.Cut(bytes.TrimSpace(pair), []byte("="))
		if bytes.EqualFold(key, name) {
			return bytes.Trim(value, "\"")
		}
	}
	return nil
}

// parseNode reads an address with or without a port: "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80".
func parseNode(b []byte) (netip.Addr, bool) {
	switch {
	case len(b) > 0 && b[0] == '[':
		end := bytes.IndexByte(b, ']')
		if end < 0 {
			return netip.Addr{}, false
		}
		b = b[1:end]
	case bytes.IndexByte(b, '.') >= 0 && bytes.Count(b, []byte(":")) == 1:
		b = b[:bytes.IndexByte(b, ':')]
	}
	// Only what may be an address is parsed, for an error would cost an allocation, and a zone too.
	for _, c := range b {
		if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' || c == '.' || c == ':') {
			return netip.Addr{}, false
		}
	}
	if len(b) == 0 || len(b) > len("0000:0000:0000:0000:0000:ffff:255.255.255.255") {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(unsafe.String(&b[0], len(b))) // it keeps nothing of an address without a zone
	return a.Unmap(), err == nil
}
