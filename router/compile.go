package router

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Compiler makes tables.
type Compiler struct {
	// Node is the node that the tables are for: its own instances are preferred.
	Node   cloud.NodeName
	Mounts []Mount
	// Seed is secret and the same on all nodes. It determines where rounds of explicit weights begin, and to which instance
	// a sticky route sends a client.
	Seed uint64
	// Secret encrypts the instance in clients' cookies. It is the router's PassKey.
	Secret []byte
	// Portal connects to what asks people for their password: it speaks HTTP/1.1, and answers loginPath and what is
	// below it. nil: nobody can log in.
	Portal func(context.Context) (net.Conn, error)

	mu      sync.Mutex // guards remotes
	remotes map[cloud.NodeName]*remote
}

// emptyTable returns a table without hosts.
func emptyTable() *Table {
	return &Table{
		view:   cloud.NewView(),
		public: newShards[*vhost](), internal: newShards[*vhost](),
		pools: newShards[*Pool](), endpoints: newShards[*Endpoint](),
		limits: newLimits(cloud.Limits{}),
	}
}

// Compile returns the table of a view. It shares everything that has not changed with the previous table, and endpoints keep
// their state. With prev nil it compiles everything; the result is equal.
func (c *Compiler) Compile(prev *Table, now cloud.View) *Table {
	if prev == nil {
		prev = emptyTable()
	}
	j := &compilation{
		Compiler: c, prev: prev, now: now, domain: now.State.Settings().Domain,
		public: prev.public.edit(), internal: prev.internal.edit(),
		pools: prev.pools.edit(), endpoints: prev.endpoints.edit(),
	}
	// A change of the cloud's limits recompiles all routes, because they share these limits.
	j.limits, j.ports, j.passing = prev.limits, prev.ports, prev.passing
	if set := now.State.Settings().Limits; prev.view.State.Settings().Limits != set {
		j.limits = newLimits(set)
	}
	apps, vhosts, ok := now.Touched(prev.view)
	if !ok {
		apps, vhosts = j.everything()
	}
	hosts := vhosts
	for app := range apps {
		j.app(app, hosts)
	}
	for h := range hosts {
		j.host(h)
	}
	if c.Portal != nil {
		j.portal()
	}
	for _, m := range c.Mounts {
		j.mount(m)
	}
	return &Table{
		view: now, domain: string(j.domain),
		public: j.public.next, internal: j.internal.next, pools: j.pools.next, endpoints: j.endpoints.next,
		limits: j.limits, ports: j.ports, passing: j.passing, links: j.links(), base: prev, gone: j.gone,
	}
}

// missing returns the endpoints of t that next does not have.
func (t *Table) missing(next *Table) []*Endpoint {
	var gone []*Endpoint
	for id, e := range t.endpoints.all {
		if o, _ := next.endpoints.lookup(id); o != e {
			gone = append(gone, e)
		}
	}
	return gone
}

// compilation is one run of a Compiler.
type compilation struct {
	*Compiler
	prev             *Table
	now              cloud.View
	domain           cloud.Domain
	public, internal *edit[*vhost]
	pools            *edit[*Pool]
	endpoints        *edit[*Endpoint]
	gone             []*Endpoint
	limits           *limits
	ports            map[uint16]bool
	passing          int
}

// everything returns all apps and hosts of the previous table and of the view.
func (j *compilation) everything() (map[cloud.AppRef]bool, map[cloud.Host]bool) {
	apps, hosts := map[cloud.AppRef]bool{}, map[cloud.Host]bool{}
	for a := range j.now.State.Apps("") {
		apps[a.AppRef] = true
	}
	for a := range j.prev.view.State.Apps("") {
		apps[a.AppRef] = true
	}
	for s := range j.now.State.VirtualHosts() {
		hosts[s.Host] = true
	}
	for h := range j.prev.internal.all {
		hosts[cloud.Host(h)] = true
	}
	return apps, hosts
}

// app recompiles the pools of an app, and adds its old and new own addresses to hosts.
func (j *compilation) app(app cloud.AppRef, hosts map[cloud.Host]bool) {
	hosts[j.domain.App(app)] = true
	// Endpoints that are not reused leave the table. An instance must not have two endpoints.
	before := map[cloud.InstanceID]*Endpoint{}
	for r := range j.prev.view.State.Releases(app) {
		hosts[j.domain.Release(r.ReleaseRef, r.Created)] = true
		if p, ok := j.prev.pools.lookup(r.ReleaseRef.String()); ok {
			for _, e := range p.Endpoints {
				before[e.ID] = e
			}
			j.pools.delete(r.ReleaseRef.String())
		}
	}
	for r := range j.now.State.Releases(app) {
		hosts[j.domain.Release(r.ReleaseRef, r.Created)] = true
		pool := &Pool{Release: r.ReleaseRef, hash: fnv(r.ReleaseRef.String())}
		for _, i := range j.now.Pool(r.ReleaseRef) {
			e := before[i.ID]
			if e == nil || e.Addr != i.Addr {
				e = newEndpoint(i.ID, r.ReleaseRef, i.Addr)
				e.tag, e.at = tagOf(j.Secret, e), j.remote(i.Node)
				if r.Spec.Processes[cloud.Web].Protocol == cloud.ProtocolHTTP2 {
					e.speakHTTP2()
				}
			} else {
				delete(before, e.ID)
			}
			j.endpoints.set(string(e.ID), e)
			pool.Endpoints = append(pool.Endpoints, e)
		}
		pool.split()
		j.pools.set(r.ReleaseRef.String(), pool)
	}
	for id, e := range before {
		if now, _ := j.endpoints.next.lookup(string(id)); now == e {
			j.endpoints.delete(string(id))
		}
		j.gone = append(j.gone, e)
	}
}

// host recompiles the routes of a host: its mapped routes, or else those of the private domain.
func (j *compilation) host(h cloud.Host) {
	key := string(h)
	s, ok := j.now.State.VirtualHost(h)
	j.port(h, s)
	if before, ok := j.prev.internal.lookup(key); ok && before.passthrough {
		j.passing--
	}
	if !ok {
		j.public.delete(key)
		if target, ok := j.now.State.OwnerOf(h); ok {
			route := cloud.Route{Path: "/", Targets: []cloud.Target{{ReleaseRef: target}}}
			j.internal.set(key, j.vhost(h, []cloud.Route{route}))
		} else {
			j.internal.delete(key)
		}
		return
	}
	made := j.vhost(h, s.Routes)
	var was *hostTLS
	if before, ok := j.prev.internal.lookup(key); ok {
		was = before.tls
	}
	made.tls = newHostTLS(s.TLS, was)
	if made.passthrough = s.Passthrough; s.Passthrough {
		j.passing++
		made.tls = &hostTLS{only: true} // who asks without TLS is led there
	}
	made.parking, made.held = j.parking(key, s.Hold)
	for _, r := range made.routes {
		r.mapped, r.tls, r.passes = true, made.tls, s.PassesBytes()
		if made.held {
			r.parking = made.parking
		}
	}
	j.requireLogin(made, s)
	j.internal.set(key, made)
	switch s.Exposure {
	case cloud.ExposedPublic:
		j.public.set(key, made)
	case cloud.ExposedInternal:
		j.public.delete(key)
	}
}

// parking returns where requests of a host wait, if they are held, or waited during its last hold.
func (j *compilation) parking(host string, h *cloud.HostHold) (p *parking, held bool) {
	if before, ok := j.prev.internal.lookup(host); ok {
		p = before.parking
	}
	if h != nil && (p == nil || p.id != h.ID) {
		p = newParking(h)
	}
	return p, h != nil
}

func (j *compilation) vhost(h cloud.Host, routes []cloud.Route) *vhost {
	before, _ := j.prev.internal.lookup(string(h))
	s := &vhost{routes: make(map[string]*Route, len(routes))}
	for _, r := range routes {
		made := j.route(h, r)
		if before != nil && before.routes[r.Path] != nil {
			made.turns = before.routes[r.Path].turns
		} else {
			made.turns = &turns{seed: j.Seed}
		}
		if made.limits.hold > 0 {
			if s.lot == nil && before != nil {
				s.lot = before.lot
			}
			if s.lot == nil {
				s.lot = &lot{most: maxHeld, mostBytes: maxHeldBytes}
			}
			made.lot = s.lot
		}
		s.routes[r.Path] = made
		s.longest = max(s.longest, len(r.Path))
	}
	if len(routes) == 0 {
		// A host without routes still belongs to its group: it answers 503, and never leads to another app.
		s.routes["/"] = &Route{Host: string(h), Path: "/", turns: &turns{}, limits: j.limits}
		s.longest = 1
	}
	s.root = s.routes["/"]
	return s
}

func (j *compilation) route(h cloud.Host, r cloud.Route) *Route {
	made := &Route{Host: string(h), Path: r.Path, headers: r.Headers, proxyProtocol: r.ProxyProtocol, sticky: newSticky(r.Sticky), limits: j.limits}
	if r.Limits != (cloud.Limits{}) {
		made.limits = newLimits(r.Limits.Or(j.now.State.Settings().Limits))
		made.limited = r.Limits
	}
	if r.Crossfade != nil {
		made.fading = r.Crossfade.Started.Unix()
	}
	var targets []target
	for _, t := range r.Targets {
		if !slices.Contains(made.apps, t.AppRef) {
			made.apps = append(made.apps, t.AppRef)
		}
		made.explicit = made.explicit || t.Weighted
		targets = append(targets, target{weighted: t.Weighted, weight: t.Weight, pools: j.serving(t.ReleaseRef)})
	}
	if len(targets) == 1 && len(targets[0].pools) == 1 {
		made.only = targets[0].pools[0].Release
	} else if len(made.apps) > 0 {
		made.only = made.apps[0].Release(0)
	}
	made.shares = shares(targets)
	for _, s := range made.shares {
		made.plan.total += s.weight
	}
	made.plan.stride = stride(made.plan.total)
	made.rules = j.rules(r.Rules)
	if r.Mirror != nil {
		if pools := j.serving(r.Mirror.To); len(pools) > 0 {
			made.mirror = &mirror{uint64(r.Mirror.Percent), pools[0]}
		}
	}
	return made
}

// serving returns the current pools of a target.
func (j *compilation) serving(r cloud.ReleaseRef) []*Pool {
	refs := []cloud.ReleaseRef{r}
	if r.N == 0 {
		app, ok := j.now.State.App(r.AppRef)
		if !ok {
			return nil
		}
		refs = j.now.Serving(app)
	}
	var pools []*Pool
	for _, ref := range refs {
		if p, ok := j.pools.next.lookup(ref.String()); ok {
			pools = append(pools, p)
		}
	}
	return pools
}

// mount adds a part of this process to the table.
func (j *compilation) mount(m Mount) {
	id := "mount:" + string(m.Host)
	release := cloud.AppRef{Group: cloud.DefaultGroup, App: m.Name}.Release(0)
	e, ok := j.endpoints.next.lookup(id)
	if !ok {
		e = newEndpoint(cloud.InstanceID(id), release, netip.AddrPort{})
		e.dial = m.Dial
		j.endpoints.set(id, e)
	}
	if s, ok := j.internal.next.lookup(string(m.Host)); ok && s.mounted == e && j.limits == j.prev.limits {
		return
	}
	limits := *j.limits
	limits.answer = 24 * time.Hour
	pool := &Pool{Release: release, Endpoints: []*Endpoint{e}}
	r := &Route{Host: string(m.Host), Path: "/", shares: []share{{1, pool}}, turns: &turns{}, limits: &limits}
	j.internal.set(string(m.Host), &vhost{root: r, routes: map[string]*Route{"/": r}, longest: 1, mounted: e})
	j.public.delete(string(m.Host))
}

// String returns the table as text, one line per route, sorted; equal tables have equal texts.
func (t *Table) String() string {
	var lines []string
	for _, part := range []struct {
		name   string
		vhosts *shards[*vhost]
	}{{"internal", t.internal}, {"public", t.public}} {
		for _, s := range part.vhosts.all {
			for _, r := range s.routes {
				lines = append(lines, part.name+" "+r.String())
			}
		}
	}
	for _, ref := range slices.Sorted(maps.Keys(maps.Collect(t.pools.all))) {
		p, _ := t.pools.lookup(ref)
		lines = append(lines, fmt.Sprintf("pool %s %s", ref, p))
	}
	for _, id := range slices.Sorted(maps.Keys(maps.Collect(t.endpoints.all))) {
		e, _ := t.endpoints.lookup(id)
		lines = append(lines, fmt.Sprintf("endpoint %s %s", id, e.Addr))
	}
	for _, l := range t.links {
		lines = append(lines, fmt.Sprintf("link %s until %d", l.route, l.until))
	}
	slices.SortStableFunc(lines, cmp.Compare)
	return strings.Join(lines, "\n") + "\n"
}

func (r *Route) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s", r.Host, r.Path)
	for _, s := range r.shares {
		fmt.Fprintf(&b, " %s=%d", s.pool.Release, s.weight)
	}
	for _, o := range r.rules {
		fmt.Fprintf(&b, " [%s]=%s", o.when, o.pool.Release)
	}
	if r.mirror != nil {
		fmt.Fprintf(&b, " mirror=%s:%d%%", r.mirror.pool.Release, r.mirror.percent)
	}
	if r.tls != nil {
		fmt.Fprintf(&b, " tls=%t,%q,%d", r.tls.only, r.tls.hsts, len(r.tls.id))
	}
	if r.login != nil {
		fmt.Fprintf(&b, " login=%s", r.login.Group)
	}
	if r.headers {
		b.WriteString(" headers")
	}
	if r.passes {
		fmt.Fprintf(&b, " passes proxy=%t", r.proxyProtocol)
	}
	if set := r.limited.Texts(); len(set) > 0 {
		for _, name := range slices.Sorted(maps.Keys(set)) {
			fmt.Fprintf(&b, " %s=%s", name, set[name])
		}
	}
	if r.sticky.by != "" {
		fmt.Fprintf(&b, " sticky=%s%s", r.sticky.by, r.sticky.header)
	}
	return b.String()
}

func (p *Pool) String() string {
	ids := make([]string, 0, len(p.Endpoints))
	for _, e := range p.Endpoints {
		ids = append(ids, string(e.ID)+"="+e.Addr.String())
	}
	return strings.Join(ids, " ")
}
