package hostdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Hop is one step on the path from a name to an app.
type Hop struct {
	Name string // "resolver", "dns", "router"
	OK   bool
	Text string
	Hint string // how to repair a broken hop
}

// Target is what Trace checks.
type Target struct {
	Setup
	HTTP uint16 // the router's port
}

const hopTimeout = 3 * time.Second

// Trace follows the path of a browser on this machine to a name of the domain, and returns all hops. It tries
// each hop even if another one is broken: a machine may be set up for a node that does not run, or the node
// may run and the machine not be set up.
func Trace(ctx context.Context, w Target) []Hop {
	name := string(w.Domain.API())
	var fromNode, fromHost []netip.Addr
	var dnsErr, hostErr error
	var both sync.WaitGroup
	both.Go(func() { fromNode, dnsErr = lookup(ctx, w.Server, name) })
	both.Go(func() { fromHost, hostErr = lookup(ctx, netip.AddrPort{}, name) })
	both.Wait()
	return []Hop{w.resolverHop(name, fromHost, hostErr, fromNode), w.dnsHop(name, fromNode, dnsErr), w.routerHop(ctx, fromHost, fromNode)}
}

func (w Target) resolverHop(name string, got []netip.Addr, err error, want []netip.Addr) Hop {
	h := Hop{Name: "resolver", Hint: "sudo micro dns install; names under localhost need none of this"}
	switch {
	case err != nil:
		h.Text = fmt.Sprintf("this machine's resolver does not know %s: %s", name, reason(err))
	case len(want) > 0 && !slices.ContainsFunc(got, func(a netip.Addr) bool { return slices.Contains(want, a) }):
		h.Text = fmt.Sprintf("this machine's resolver says that %s is %s, the node says %s", name, list(got), list(want))
		h.Hint = "micro dns status; another server, or /etc/hosts, answers for the domain"
	default:
		h.OK, h.Text = true, fmt.Sprintf("this machine's resolver says that %s is %s", name, list(got))
	}
	return h
}

func (w Target) dnsHop(name string, got []netip.Addr, err error) Hop {
	if err != nil {
		return Hop{Name: "dns", Text: fmt.Sprintf("the node's DNS server at %s does not answer for %s: %s", w.Server, name, reason(err)),
			Hint: "micro up starts the node; its option --dns sets the address of its DNS server"}
	}
	return Hop{Name: "dns", OK: true, Text: fmt.Sprintf("%s answers that %s is %s", w.Server, name, list(got))}
}

// routerHop sends a request for an unknown host to the address that the resolver returned, or else the node.
// Micro's router is recognised by a header of its error answer.
func (w Target) routerHop(ctx context.Context, fromHost, fromNode []netip.Addr) Hop {
	h := Hop{Name: "router", Hint: "micro explain http://" + string(w.Domain.API()) + " shows which addresses the router has"}
	addrs := fromHost
	if len(addrs) == 0 {
		addrs = fromNode
	}
	if len(addrs) == 0 {
		h.Text = "not tried: no address is known"
		return h
	}
	addr := netip.AddrPortFrom(addrs[0], w.HTTP)
	ctx, cancel := context.WithTimeout(ctx, hopTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+addr.String()+"/", nil)
	if err != nil {
		h.Text = err.Error()
		return h
	}
	req.Host = "micro-dns-status-" + strconv.FormatInt(time.Now().UnixNano(), 36) + "." + string(w.Domain)
	transport := &http.Transport{DisableKeepAlives: true} // ignores the proxy settings of the environment
	resp, err := transport.RoundTrip(req)
	if err != nil {
		h.Text = fmt.Sprintf("nothing answers requests at %s: %s", addr, reason(err))
		return h
	}
	resp.Body.Close()
	if resp.Header.Get("X-Micro-Error") == "" && resp.Header.Get("X-Micro-Release") == "" {
		h.Text = fmt.Sprintf("the server at %s is not micro's router", addr)
		h.Hint = "ss -ltnp names the process; micro up --http chooses another address"
		return h
	}
	h.OK, h.Text = true, fmt.Sprintf("the router answers at %s", addr)
	return h
}

// lookup asks a server for a name, or this machine's resolver if server is the zero AddrPort.
func lookup(ctx context.Context, server netip.AddrPort, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, hopTimeout)
	defer cancel()
	r := net.DefaultResolver
	if server.IsValid() {
		r = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.String())
		}}
	}
	addrs, err := r.LookupNetIP(ctx, "ip", name+".")
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}

// reason returns an error's text without the name and address, which the message around it has.
func reason(err error) string {
	if failed, ok := errors.AsType[*net.DNSError](err); ok {
		return failed.Err
	}
	if failed, ok := errors.AsType[*net.OpError](err); ok {
		return failed.Err.Error()
	}
	return err.Error()
}

func list(addrs []netip.Addr) string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return strings.Join(all, ", ")
}

// FirstError returns the first broken hop as an error, or nil.
func FirstError(hops []Hop) error {
	for _, h := range hops {
		if !h.OK {
			return cloud.Errorf(cloud.Unavailable, "%s: %s", h.Name, h.Text).WithHint("%s", h.Hint)
		}
	}
	return nil
}
