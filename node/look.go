package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/router"
)

// Inspect implements handler.Inspector.
func (n *Node) Inspect(ctx context.Context, v handler.Probe) handler.Trace {
	asked := n.dns.Look(v.From, v.Host)
	s := handler.Trace{
		Client: asked.Class.String(), Local: n.isLocal(v.From), Own: ownAddrs(),
		Name:     handler.Naming{Ours: asked.Ours, Code: asked.Rcode, Addrs: asked.Addrs},
		Internal: n.routing(true, v), Public: n.routing(false, v),
	}
	for _, a := range n.internal {
		s.Listeners = append(s.Listeners, handler.Listener{AddrPort: a})
	}
	for _, ln := range n.public {
		if a, err := netip.ParseAddrPort(ln.Addr().String()); err == nil {
			s.Listeners = append(s.Listeners, handler.Listener{AddrPort: a, Public: true, Both: a.Addr().Is6() && takesIPv4(ln)})
		}
	}
	s.Resolver = resolve(ctx, v.Host)
	return s
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

// resolve asks this machine's own resolver.
func resolve(ctx context.Context, host string) (found handler.Naming) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for _, a := range addrs {
		found.Addrs = append(found.Addrs, a.Unmap().WithZone(""))
	}
	var failed *net.DNSError
	switch {
	case errors.As(err, &failed):
		found.Code = failed.Err // without the server's address, which is nobody's business here
	case err != nil:
		found.Code = err.Error()
	}
	return found
}

func (n *Node) routing(internal bool, v handler.Probe) handler.Routing {
	l := n.router.Look(internal, v.From.IsLoopback(), v.Host, v.Target)
	r := handler.Routing{Known: l.Known, Host: l.Host, Path: l.Path, Mapped: l.Mapped, Sticky: l.Sticky}
	for _, share := range l.Shares {
		r.Shares = append(r.Shares, shareOf(share))
	}
	return r
}

func shareOf(s router.Share) handler.Share {
	n, err := strconv.Atoi(strings.TrimPrefix(s.Release, "r"))
	if err != nil {
		n = 0 // a part of micro's own
	}
	out := handler.Share{ReleaseRef: appRef(s.App).Release(n), Part: s.Part}
	for _, i := range s.Instances {
		if i.Ejected {
			out.Ejected = append(out.Ejected, i.ID)
		}
	}
	return out
}
