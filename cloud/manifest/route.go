package manifest

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// route is an item of routes.
type route struct {
	at       *yaml.Node
	said     bool
	draft    cloud.RouteSpec
	options  routeOptions
	own      ownRoute
	protocol cloud.Protocol
}

type (
	routeOptions struct{}
	ownRoute     struct {
		public bool
		sticky *cloud.Sticky
		limits cloud.Limits
	}
)

func (v value) address(rt *route) {
	rt.said = true
	if s, ok := v.word(); ok {
		if d, ok := v.parseRoute(s); ok {
			rt.draft = d
		}
	}
}

// parseRoute reads HOST[/PATH].
func (v value) parseRoute(s string) (cloud.RouteSpec, bool) {
	var d cloud.RouteSpec
	if scheme, _, ok := strings.Cut(s, "://"); ok {
		v.bad("route %q has a scheme: leave out %s://, both are answered", abbreviate(s), abbreviate(scheme))
		return d, false
	}
	host, p, _ := strings.Cut(s, "/")
	var err error
	if name, port, ok := strings.Cut(host, ":"); ok {
		// As Cloud Foundry's TCP routes, tcp.example.com:5433. The port alone says where it leads.
		if _, err := cloud.ParseHost(name); err != nil {
			v.badErr(err)
			return d, false
		}
		if d.Host, err = cloud.ParseRouteHost("tcp:" + port); err != nil {
			v.badErr(err)
			return d, false
		}
		if p != "" {
			v.bad("route %q has a port and a path: a TCP route has no path", abbreviate(s))
			return d, false
		}
		d.Path = "/"
		return d, true
	}
	if d.Host, err = cloud.ParseHost(host); err != nil {
		v.badErr(err)
		return d, false
	}
	if !strings.Contains(string(d.Host), ".") {
		v.bad("route %q has no domain: write it like www.example.com", abbreviate(s))
		return d, false
	}
	if d.Path, err = cloud.ParsePath(p); err != nil {
		v.badErr(err)
		return d, false
	}
	return d, true
}

func (v value) protocol(rt *route) {
	if s, ok := v.oneOf("http1", "http2", "tcp"); ok {
		rt.protocol = cloud.Protocol(s)
	}
}

// tcp is the protocol of a route whose bytes are passed on; it says nothing of the app's others.
const tcp cloud.Protocol = "tcp"

func (v value) loadBalancing(*routeOptions) { v.oneOf("round-robin", "least-connection", "hash") }

// hashBalance checks how many times the average load an instance may have, 0 for any.
func (v value) hashBalance(*routeOptions) {
	f, err := strconv.ParseFloat(v.node.Value, 64)
	if v.node.Kind != yaml.ScalarNode || err != nil || f != 0 && !(1.1 <= f && f <= 10) {
		v.bad("%s must be 0 or a number from 1.1 to 10, not %s", v.name, kindOf(v.node))
	}
}

func (v value) public(o *ownRoute) { o.public, _ = v.flag() }

// sticky reads cookie, client, or header:NAME.
func (v value) sticky(o *ownRoute) {
	s, ok := v.word()
	if !ok {
		return
	}
	by, header, named := strings.Cut(s, ":")
	switch sticky := cloud.StickyBy(by); {
	case sticky == cloud.StickyHeader && named && header != "",
		!named && (sticky == cloud.StickyCookie || sticky == cloud.StickyClient):
		o.sticky = &cloud.Sticky{By: sticky, Header: header}
	default:
		v.bad("sticky %q is not one of cookie, client, header:NAME", abbreviate(s))
	}
}

// limit reads a limit of the route's.
func limit(k cloud.LimitKind) func(value, *ownRoute) {
	return func(v value, o *ownRoute) {
		if s, ok := v.word(); ok {
			if err := k.Set(&o.limits, s); err != nil {
				v.badErr(err)
			}
		}
	}
}

// routing is what an app's keys say of its routes, old ones too.
type routing struct {
	routes     []*route
	none       bool
	noneAt     *yaml.Node
	standard   *yaml.Node // of default-route: true
	domain     cloud.Domain
	oldHosts   []old
	oldDomains []old
	bare       bool // no-hostname
	bareAt     *yaml.Node

	drafts   []cloud.RouteSpec
	protocol *cloud.Protocol // of the app, as its routes have it
}

// old is a text of an old key.
type old struct {
	value
	text string
}

func (v value) noRoute(g *routing) {
	if b, ok := v.flag(); ok && b {
		g.none, g.noneAt = true, v.node
	}
}

// defaultRoute asks for the address that every app has.
func (v value) defaultRoute(g *routing) {
	if b, ok := v.flag(); ok && b {
		g.standard = v.node
	}
}

func (v value) hosts(g *routing) { g.oldHosts = append(g.oldHosts, v.olds()...) }

func (v value) domains(g *routing) { g.oldDomains = append(g.oldDomains, v.olds()...) }

func (v value) noHostname(g *routing) {
	g.bare, _ = v.flag()
	g.bareAt = v.node
}

func (v value) urls(g *routing) {
	for _, o := range v.olds() {
		if d, ok := o.parseRoute(o.text); ok {
			g.routes = append(g.routes, &route{at: o.node, draft: d})
		}
	}
}

// olds reads one text or a list of them.
func (v value) olds() []old {
	var all []old
	if v.node.Kind != yaml.SequenceNode {
		if s, ok := v.word(); ok {
			all = append(all, old{v, s})
		}
		return all
	}
	for item := range v.items() {
		if s, ok := item.word(); ok {
			all = append(all, old{item, s})
		}
	}
	return all
}

// finish makes the list of routes and checks what the keys mean together.
func (g *routing) finish(r *reader) {
	g.combine(r)
	type place struct {
		host cloud.Host
		path string
	}
	seen := map[place]bool{}
	for _, rt := range g.routes {
		if rt.draft.Host == "" {
			if !rt.said && rt.at.Kind == yaml.MappingNode {
				r.bad(rt.at, "a route has no address: write it like route: www.example.com")
			}
			continue
		}
		rt.draft.Public, rt.draft.Sticky, rt.draft.Limits = rt.own.public, rt.own.sticky, rt.own.limits
		switch port := rt.draft.Host.Port() != 0; {
		case rt.protocol == tcp && !port:
			r.bad(rt.at, "a TCP route needs a port: write it like route: tcp.example.com:5433")
			continue
		case port && rt.protocol != "" && rt.protocol != tcp:
			r.bad(rt.at, "a route with a port is a TCP route: leave out protocol %s, or the port", rt.protocol)
			continue
		}
		if said := rt.protocol; said != "" && said != tcp {
			if g.protocol != nil && *g.protocol != said {
				r.bad(rt.at, "protocol %s: another route says %s, and an app speaks one", said, *g.protocol)
			}
			g.protocol = &said
		}
		p := place{rt.draft.Host, rt.draft.Path}
		if seen[p] {
			r.bad(rt.at, "route %s%s is given twice", p.host, strings.TrimSuffix(p.path, "/"))
			continue
		}
		seen[p] = true
		g.drafts = append(g.drafts, rt.draft)
	}
	if g.none && len(g.routes) > 0 {
		r.bad(g.noneAt, "no-route and routes exclude each other")
	}
	if g.none && g.standard != nil {
		r.bad(g.standard, "no-route and default-route exclude each other")
	}
}

// combine makes routes of old hosts and domains: each host in each domain.
func (g *routing) combine(r *reader) {
	switch {
	case g.bare && len(g.oldDomains) == 0:
		r.bad(g.bareAt, "no-hostname needs a domain: write routes")
		return
	case g.bare:
		for _, d := range g.oldDomains {
			g.add(d, d.text)
		}
		return
	}
	for _, h := range g.oldHosts {
		for _, d := range g.oldDomains {
			g.add(h, h.text+"."+d.text)
		}
		switch {
		case len(g.oldDomains) > 0:
		case g.domain != "":
			g.add(h, h.text+"."+string(g.domain))
		default:
			h.bad("host %s has no domain: write routes", abbreviate(h.text))
		}
	}
	if len(g.oldHosts) == 0 && len(g.oldDomains) > 0 {
		g.oldDomains[0].bad("a domain needs a host: write routes")
	}
}

func (g *routing) add(o old, s string) {
	if d, ok := o.parseRoute(s); ok {
		g.routes = append(g.routes, &route{at: o.node, draft: d})
	}
}
