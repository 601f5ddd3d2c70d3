package trace

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/dnsd"
	"github.com/protoduction/micro/node/addresses"
	"github.com/protoduction/micro/router"
)

// Tracer traces requests through the parts of a node.
type Tracer struct {
	DNS       *dnsd.Server
	Router    *router.Router
	Addresses *addresses.Bound
}

// Inspect implements handler.Inspector.
func (t Tracer) Inspect(ctx context.Context, v handler.Probe) handler.Trace {
	asked := t.DNS.Inspect(v.From, v.Host)
	s := handler.Trace{
		Client: asked.Class.String(), Local: t.Addresses.IsLocal(v.From), Own: addresses.MachineAddrs(),
		Name:     handler.Naming{Ours: asked.Ours, Code: asked.Rcode, Addrs: asked.Addrs},
		Internal: t.routing(true, v), Public: t.routing(false, v),
	}
	for _, l := range t.Addresses.Listeners() {
		s.Listeners = append(s.Listeners, handler.Listener(l))
	}
	if !v.AssumeDNS {
		s.Resolver = resolve(ctx, v.Host)
	}
	return s
}

// resolve resolves a host name with this machine's own resolver.
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
		found.Code = failed.Err // without the address of the machine's DNS server, which clients need not know
	case err != nil:
		found.Code = err.Error()
	}
	return found
}

func (t Tracer) routing(internal bool, v handler.Probe) handler.Routing {
	l := t.Router.Trace(router.Question{Internal: internal, Client: v.From, Host: v.Host, Target: v.Target, Fields: v.Fields})
	r := handler.Routing{Known: l.Known, Host: l.Host, Path: l.Path, Mapped: l.Mapped, Sticky: l.Sticky, Rule: l.Rule}
	for _, share := range l.Shares {
		r.Shares = append(r.Shares, shareOf(share))
	}
	return r
}

func shareOf(s router.Share) handler.Share {
	out := handler.Share{ReleaseRef: s.Release, Part: s.Part}
	for _, i := range s.Instances {
		if i.Ejected {
			out.Ejected = append(out.Ejected, string(i.ID))
		}
	}
	return out
}
