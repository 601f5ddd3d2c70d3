package handler

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Inspector sees what would become of a request.
type Inspector interface {
	// Inspect returns what the parts of the node see of a request, without sending it.
	Inspect(ctx context.Context, p Probe) Trace
}

func (h *Handler) serveExplain() {
	get(h, operation("explain", "GET /v1/explain", "Say where a request would go, and what blocks it"),
		func(ctx context.Context, in *struct {
			URL    string   `query:"url" required:"true" maxLength:"2000"`
			From   string   `query:"from" maxLength:"64" doc:"The client's address; this machine where none is given"`
			DNS    bool     `query:"assume_dns" doc:"Leave out the look-up: the host's name counts as one of the node's addresses"`
			Header []string `query:"header,explode" maxItems:"50" doc:"Fields of the request's header, as Name: value"`
		}) (api.Explanation, error) {
			if host, ok := probedPort(in.URL); ok {
				return h.explainPort(ctx, host, in.From)
			}
			probe, err := readProbe(in.URL, in.From)
			if err != nil {
				return api.Explanation{}, err
			}
			probe.AssumeDNS, probe.Fields = in.DNS, in.Header
			v, trace := h.view(ctx), h.Inspector.Inspect(ctx, probe)
			if !h.seesHost(ctx, v.State, trace) {
				trace = trace.without(h.Domain.Contains(cloud.Host(probe.Host)))
			} else if vhost, ok := v.State.VirtualHost(cloud.Host(trace.host())); ok && probe.Scheme == "https" {
				if trace.Certificates, err = h.certificates(ctx, v.State, vhost.Group); err != nil {
					return api.Explanation{}, err
				}
			}
			return explain(v, h.Domain, probe, trace), nil
		})
}

// seesHost reports whether the caller may see what a trace has found: a host of a group that it may read.
func (h *Handler) seesHost(ctx context.Context, s *cloud.State, t Trace) bool {
	sees := h.sees(ctx)
	for _, r := range []Routing{t.Internal, t.Public} {
		host := cloud.Host(r.Host)
		if vhost, ok := s.VirtualHost(host); ok && !(route{vhost: vhost}).seenBy(sees) {
			return false
		}
		if vhost, ok := s.VirtualHost(host); ok && s.May(requestOf(ctx).actor, cloud.MayRead, cloud.Scope{Group: vhost.Group}) != nil {
			return false
		}
		if ref, ok := s.OwnerOf(host); ok && !sees(ref.AppRef) {
			return false
		}
		for _, share := range r.Shares {
			if !sees(share.AppRef) {
				return false
			}
		}
	}
	return true
}

// without is the trace of a host that is not there.
func (t Trace) without(ours bool) Trace {
	t.Internal, t.Public = Routing{}, Routing{}
	if t.Name.Ours || ours {
		t.Name = Naming{Ours: ours, Code: "NXDOMAIN"}
	}
	return t
}

// way is an explanation being written.
type way struct {
	view   cloud.View
	domain cloud.Domain
	probe  Probe
	trace  Trace
	api.Explanation

	addrs   []netip.Addr // what the name resolves to
	routing Routing
	refs    []cloud.ReleaseRef // that may answer, the likeliest first
}

// explain follows a request until it is answered or stuck. It is a pure function.
func explain(v cloud.View, d cloud.Domain, probe Probe, s Trace) api.Explanation {
	w := &way{view: v, domain: d, probe: probe, trace: s}
	w.Explanation = api.Explanation{URL: probe.String(), From: probe.From.String(), Hops: []api.Hop{}}
	for _, hop := range []func() bool{w.name, w.listener, w.host, w.certificate, w.path, w.release, w.instance} {
		if !hop() {
			return w.Explanation
		}
	}
	w.Works = true
	return w.Explanation
}

func (w *way) ok(name, format string, args ...any) bool {
	w.Hops = append(w.Hops, api.Hop{Name: name, Status: api.OK, Text: fmt.Sprintf(format, args...)})
	return true
}

func (w *way) broken(name, hint, format string, args ...any) bool {
	w.Hops = append(w.Hops, api.Hop{Name: name, Status: api.Fail, Text: fmt.Sprintf(format, args...), Hint: hint})
	return false
}

func (w *way) detail(format string, args ...any) {
	last := &w.Hops[len(w.Hops)-1]
	last.Details = append(last.Details, fmt.Sprintf(format, args...))
}

// name is what the client's resolver makes of the host.
func (w *way) name() bool {
	const hop = "name"
	host, s := w.probe.Host, w.trace
	if a, err := netip.ParseAddr(host); err == nil {
		w.addrs = []netip.Addr{a.Unmap()}
		return w.ok(hop, "%s is an address: nothing to look up", host)
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		w.addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
		return w.ok(hop, "%s is this machine for every client (RFC 6761)", host)
	}
	if w.probe.AssumeDNS {
		for _, l := range s.Listeners {
			switch {
			case !l.Addr().IsUnspecified():
				w.addrs = append(w.addrs, l.Addr())
			case w.probe.From.IsLoopback():
				w.addrs = append(w.addrs, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
			default:
				w.addrs = append(w.addrs, s.Own...)
			}
		}
		return w.ok(hop, "%s is assumed to resolve to this node", host)
	}
	if s.Name.Ours {
		switch {
		case s.Name.Code == "REFUSED":
			return w.broken(hop, "use a public name: micro map APP www.example.com --public",
				"the node's DNS server answers for %s to local clients only, and %s is %s", host, w.probe.From, s.Client)
		case s.Name.Code != "NOERROR" && s.Internal.Known && !w.domain.Contains(cloud.Host(host)):
			return w.broken(hop, "micro explain --assume-dns "+w.probe.String()+" goes on from here; a name under "+string(w.domain)+" needs no DNS of yours",
				"the node's DNS server says %s: %s is mapped, and of mapped hosts it has the addresses of those under %s alone", s.Name.Code, host, w.domain)
		case s.Name.Code != "NOERROR":
			return w.broken(hop, "micro routes", "the node's DNS server says %s: there is no %s", s.Name.Code, host)
		case len(s.Name.Addrs) == 0:
			return w.broken(hop, "micro up --http with an address that the client can reach",
				"%s exists, and no listener has an address that %s can reach", host, s.Client)
		}
		w.addrs = s.Name.Addrs
		if w.probe.From.IsLoopback() && !slices.ContainsFunc(w.addrs, func(a netip.Addr) bool { return slices.Contains(s.Resolver.Addrs, a) }) {
			// The node knows the name, and programs on this machine don't.
			return w.broken(hop, "micro dns install, or a name under .localhost, which needs no set-up; micro explain --assume-dns "+w.probe.String()+" goes on from here",
				"this machine's resolver does not ask the node's DNS server, which says %s: it says %s", list(w.addrs), s.Resolver.describe())
		}
		return w.ok(hop, "the node's DNS server tells %s that %s is %s", s.Client, host, list(w.addrs))
	}
	// A name of the world: the world's DNS leads to this machine, or not.
	if len(s.Resolver.Addrs) == 0 {
		return w.broken(hop, fmt.Sprintf("give %s an address at its DNS provider; until then: micro explain --assume-dns, curl --resolve %s:%d:%s", host, host, w.probe.Port, w.anyListener()),
			"%s is not a name of this node, and this machine's resolver says: %s", host, s.Resolver.describe())
	}
	w.addrs = s.Resolver.Addrs
	if !slices.ContainsFunc(w.addrs, w.here) {
		return w.broken(hop, fmt.Sprintf("point %s at this machine; until then: micro explain --assume-dns, curl --resolve %s:%d:%s", host, host, w.probe.Port, w.anyListener()),
			"%s is %s, which is not this machine", host, list(w.addrs))
	}
	return w.ok(hop, "%s is %s, which is this machine", host, list(w.addrs))
}

func (n Naming) describe() string {
	if len(n.Addrs) > 0 {
		return list(n.Addrs)
	}
	return cmp.Or(n.Code, "no address")
}

func (w *way) here(a netip.Addr) bool {
	return a.IsLoopback() || slices.Contains(w.trace.Own, a.Unmap())
}

func (w *way) anyListener() string {
	for _, l := range w.trace.Listeners {
		if l.Public == !w.trace.Local && !l.Addr().IsUnspecified() {
			return l.Addr().String()
		}
	}
	return "127.0.0.1"
}

// listener is who takes the connection, and which hosts it answers for.
func (w *way) listener() bool {
	const hop = "listener"
	s := w.trace
	secure := w.probe.Scheme == "https"
	if secure && !slices.ContainsFunc(s.Listeners, func(l Listener) bool { return l.TLS }) {
		return w.broken(hop, "micro explain http://"+w.probe.Host, "nothing listens for https on port %d", w.probe.Port)
	}
	var internal, public, elsewhere []Listener
	for _, l := range s.Listeners {
		reached := slices.ContainsFunc(w.addrs, func(a netip.Addr) bool {
			return l.Addr() == a || l.Addr().IsUnspecified() && w.here(a) && (l.Addr().Is4() == a.Is4() || l.Both)
		})
		switch {
		case !reached, l.TLS != secure:
		case l.Port() != w.probe.Port:
			elsewhere = append(elsewhere, l)
		case l.Public:
			public = append(public, l)
		default:
			internal = append(internal, l)
		}
	}
	switch {
	case len(internal) > 0 && s.Local:
		w.routing = s.Internal
		return w.ok(hop, "%s answers internal and public hosts, to %s", internal[0].AddrPort, s.Client)
	case len(public) > 0:
		w.routing = s.Public
		return w.ok(hop, "%s answers public hosts, to everybody", public[0].AddrPort)
	case len(internal) > 0:
		return w.broken(hop, "micro up --public-http, and micro map APP "+w.probe.Host+" --public",
			"%s answers local clients only, and %s is %s", internal[0].AddrPort, w.probe.From, s.Client)
	case len(elsewhere) > 0:
		there := w.probe
		there.Port = elsewhere[0].Port()
		return w.broken(hop, "micro explain "+there.String(), "no listener of micro is on port %d of %s, but one is on %s", w.probe.Port, list(w.addrs), elsewhere[0].AddrPort)
	}
	return w.broken(hop, "micro doctor", "no listener of micro is on port %d of %s", w.probe.Port, list(w.addrs))
}

// host is whether the table knows the host.
func (w *way) host() bool {
	const hop = "host"
	host := cloud.Host(w.probe.Host)
	if name, ok := strings.CutSuffix(w.probe.Host, ".localhost"); ok {
		host = cloud.Host(name + "." + string(w.domain))
	}
	switch r := w.routing; {
	case r.Known && !r.Mapped:
		return w.ok(hop, "%s is an app's own address", host)
	case r.Known && r.Host != string(host):
		return w.ok(hop, "%s is not mapped itself, %s matches it", host, r.Host)
	case r.Known:
		return w.ok(hop, "%s is mapped", host)
	case w.trace.Internal.Known:
		hint := "micro map APP " + string(host) + " --public"
		if app, ok := w.appOf(host); ok {
			hint = "micro map " + app + " " + string(host) + " --public"
		}
		return w.broken(hop, hint, "%s is internal, so public listeners answer 404", host)
	}
	if w.domain.Contains(host) {
		label, _, _ := strings.Cut(string(host), ".")
		if app, n, ok := w.releaseNamed(label); ok {
			return w.broken(hop, "micro releases "+app, "release r%d of app %s does not run: 404", n, app)
		}
		return w.broken(hop, "micro apps, micro routes", "no app and no route has the name %s: 404", host)
	}
	return w.broken(hop, "micro map APP "+string(host), "%s is mapped to nothing: 404", host)
}

// certificate is what the client is shown by TLS.
func (w *way) certificate() bool {
	const hop = "certificate"
	host := w.probe.Host
	switch {
	case w.probe.Scheme != "https":
		return true
	case host == "localhost" || strings.HasSuffix(host, ".localhost") || w.domain.Contains(cloud.Host(host)):
		return w.ok(hop, "the cloud's own authority vouches for %s, to machines that trust it: micro trust status", host)
	}
	for _, c := range w.trace.Certificates {
		if c.Name != w.routing.Host {
			continue
		}
		reason := c.Text
		if c.Error != "" {
			reason += ": " + c.Error
		}
		switch {
		case c.Status == api.Fail || c.Expires == nil:
			return w.broken(hop, cmp.Or(c.Hint, "micro certs"), "%s has no certificate that clients believe: %s", host, reason)
		case c.Status == api.Warn:
			w.ok(hop, "%s vouches for %s until %s", c.Issuer, host, c.Expires.UTC().Format(time.RFC3339))
			last := &w.Hops[len(w.Hops)-1]
			last.Status, last.Hint = api.Warn, cmp.Or(c.Hint, "micro certs")
			w.detail("%s", reason)
			return true
		}
		return w.ok(hop, "%s vouches for %s until %s", c.Issuer, host, c.Expires.UTC().Format(time.RFC3339))
	}
	return w.broken(hop, "micro map APP "+host+" --public, and micro up --public-https", "nobody vouches for %s: it is not public, or no certificates are ordered here", host)
}

// appOf names an app that a mapped host routes to.
func (w *way) appOf(host cloud.Host) (string, bool) {
	if vhost, ok := w.view.State.VirtualHost(host); ok {
		for _, r := range vhost.Routes {
			for _, t := range r.Targets {
				return t.ReleaseRef.String(), true
			}
		}
	}
	return "", false
}

// releaseNamed reads "shop-20261122-r7", the label of a release's own address.
func (w *way) releaseNamed(label string) (app string, n int, ok bool) {
	parts := strings.Split(label, "-")
	if len(parts) < 3 {
		return "", 0, false
	}
	n, err := cloud.ParseRelease(parts[len(parts)-1])
	return strings.Join(parts[:len(parts)-2], "-"), n, err == nil
}

// path is which of the host's routes it takes.
func (w *way) path() bool {
	const hop = "path"
	r := w.routing
	switch {
	case r.Path == "":
		path, _, _ := strings.Cut(w.probe.Target, "?")
		return w.broken(hop, "micro map APP "+r.Host+path, "%s has no route for %s: 404", r.Host, path)
	case r.Path == "/":
		w.ok(hop, "%s takes every path that no more specific route takes", r.Host+r.Path)
	default:
		w.ok(hop, "%s takes %s and all below it", r.Host+r.Path, r.Path)
	}
	if r.Sticky != "" {
		w.detail("clients keep their release and instance, known by %s", map[string]string{"cookie": "a cookie", "header": "a header", "client": "their address"}[r.Sticky])
	}
	if route, ok := w.route(); ok {
		if f := route.Crossfade; f != nil {
			w.detail("it is being cross-faded from %s to %s", f.From.String(), f.To.String())
		}
		if set := route.Limits.Texts(); len(set) > 0 {
			w.detail("limits of its own: %s", limitList(set))
		}
		for _, rule := range route.Rules {
			w.detail("requests with %s go to %s", rule.When, rule.To.String())
		}
		if m := route.Mirror; m != nil {
			w.detail("%d %% of safe requests are copied to %s", m.Percent, m.To.String())
		}
	}
	return true
}

// limitList writes limits as they are set: "answer-timeout=5m, max-body=2G".
func limitList(set map[string]string) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(set)) {
		texts = append(texts, name+"="+set[name])
	}
	return strings.Join(texts, ", ")
}

func (w *way) route() (*cloud.Route, bool) {
	vhost, ok := w.view.State.VirtualHost(cloud.Host(w.routing.Host))
	if !ok || !w.routing.Mapped {
		return nil, false
	}
	return vhost.Route(w.routing.Path)
}

// release is who takes the request, by weights and ready instances.
func (w *way) release() bool {
	const hop = "release"
	shares := w.routing.Shares
	if len(shares) == 0 {
		return w.nobody(hop)
	}
	for _, s := range shares {
		w.refs = append(w.refs, s.ReleaseRef)
	}
	if w.routing.Rule != "" {
		return w.ok(hop, "%s takes the request, by the rule %q", shares[0].ReleaseRef.String(), w.routing.Rule)
	}
	if len(shares) == 1 {
		w.ok(hop, "%s takes all requests", shares[0].ReleaseRef.String())
	} else {
		w.ok(hop, "%d releases take turns", len(shares))
		for _, s := range shares {
			w.detail("%s takes %s of the requests", s.ReleaseRef.String(), percent(s.Part))
		}
	}
	if route, ok := w.route(); ok {
		for _, t := range route.Targets {
			for _, ref := range w.resolve(t.ReleaseRef) {
				if slices.Contains(w.refs, ref) {
					continue
				}
				why := "no instance of it is ready"
				if t.Weighted && t.Weight == 0 {
					why = "its weight is 0"
				}
				w.detail("%s takes none: %s", ref.String(), why)
			}
		}
	}
	return true
}

// resolve returns the releases that a target means now.
func (w *way) resolve(ref cloud.ReleaseRef) []cloud.ReleaseRef {
	if ref.N != 0 {
		return []cloud.ReleaseRef{ref}
	}
	app, ok := w.view.State.App(ref.AppRef)
	if !ok {
		return nil
	}
	return w.view.Serving(app)
}

// nobody explains a route that no instance stands behind.
func (w *way) nobody(hop string) bool {
	var refs []cloud.ReleaseRef
	if route, ok := w.route(); ok {
		for _, t := range route.Targets {
			refs = append(refs, w.resolve(t.ReleaseRef)...)
		}
	} else if ref, ok := w.owner(); ok {
		refs = w.resolve(ref)
		if len(refs) == 0 {
			return w.broken(hop, "micro push --app "+string(ref.App), "app %s has no release yet: 503", ref.AppRef)
		}
	}
	if len(refs) == 0 {
		return w.broken(hop, "micro map APP "+w.routing.Host, "%s has no target any more: 503", w.routing.Host+w.routing.Path)
	}
	ref := refs[0]
	rel, ok := w.view.State.Release(ref)
	switch {
	case !ok:
		return w.broken(hop, "micro releases "+ref.AppRef.String(), "there is no %s any more: 503", ref.String())
	case rel.Failure != nil:
		return w.broken(hop, "micro rollback "+ref.AppRef.String(), "%s failed: %s", ref.String(), rel.Failure.Reason)
	case rel.Stopped:
		return w.broken(hop, "micro start "+ref.String(), "%s is stopped: 503", ref.String())
	case !w.view.State.Runs(rel):
		return w.broken(hop, "micro releases "+ref.AppRef.String(), "%s does not run: it is %s", ref.String(), w.view.State.PhaseOf(rel))
	case rel.Formation[cloud.Web].Instances == 0:
		return w.broken(hop, "micro scale "+ref.String()+" -i 1", "%s is scaled to no web instances: 503", ref.String())
	}
	w.refs = refs
	w.ok(hop, "%s should answer", ref.String())
	return true
}

// owner is the app or release whose own address the host is.
func (w *way) owner() (cloud.ReleaseRef, bool) {
	for app := range w.view.State.Apps("") {
		if string(w.domain.App(app.AppRef)) == w.routing.Host {
			return app.Release(0), true
		}
		for rel := range w.view.State.Releases(app.AppRef) {
			if string(w.domain.Release(rel.ReleaseRef, rel.Created)) == w.routing.Host {
				return rel.ReleaseRef, true
			}
		}
	}
	return cloud.ReleaseRef{}, false
}

// instance is which instances may be picked, and how they are.
func (w *way) instance() bool {
	const hop = "instance"
	var lines, ready []string
	for _, ref := range w.refs {
		for i := range w.view.Instances.OfRelease(ref) {
			if i.Process != cloud.Web {
				continue
			}
			line := fmt.Sprintf("%s is %s", i.Slot, i.Phase)
			if !i.Since.IsZero() {
				line += " since " + i.Since.UTC().Format(time.RFC3339)
			}
			switch {
			case w.ejected(ref, i.ID):
				line += ": it refused connections a moment ago"
			case i.Reason != "":
				line += ": " + i.Reason
			case i.Phase == cloud.InstanceReady:
				ready = append(ready, i.Slot.String())
				line += fmt.Sprintf(", at %s", i.Addr)
			}
			lines = append(lines, line)
		}
		lines = append(lines, w.crashed(ref)...)
	}
	ref := w.refs[0]
	switch {
	case len(ready) == 0 && len(lines) == 0:
		w.broken(hop, "micro ps "+ref.String(), "%s has no instance at all: 503", ref.String())
	case len(ready) == 0:
		w.broken(hop, "micro logs "+ref.String(), "no instance of %s can take requests: 503", ref.String())
	case len(ready) == 1:
		w.ok(hop, "%s answers", ready[0])
	default:
		w.ok(hop, "%d instances are ready: of two picked at random the less loaded one answers", len(ready))
	}
	for _, line := range lines {
		w.detail("%s", line)
	}
	return len(ready) > 0
}

// crashed has a line for every place of a release that nobody is at since its instance ended by itself.
func (w *way) crashed(ref cloud.ReleaseRef) (lines []string) {
	rel, ok := w.view.State.Release(ref)
	if !ok {
		return nil
	}
	for _, p := range placesOf(w.view, rel) {
		if c := p.crashes; p.instance == nil && c != nil && p.slot.Process == cloud.Web {
			lines = append(lines, fmt.Sprintf("%s %s, %d times in a row; the next try is at %s", p.slot, c.Reason, c.Count, c.NextTry.UTC().Format(time.RFC3339)))
		}
	}
	return lines
}

func (w *way) ejected(ref cloud.ReleaseRef, id cloud.InstanceID) bool {
	for _, s := range w.routing.Shares {
		if s.ReleaseRef == ref {
			return slices.Contains(s.Ejected, string(id))
		}
	}
	return false
}

func list(addrs []netip.Addr) string {
	var texts []string
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, " and ")
}

func percent(part float64) string {
	return strconv.FormatFloat(float64(int(part*1000+.5))/10, 'f', -1, 64) + " %"
}
