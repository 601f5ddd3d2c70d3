package router

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Question is a request that is not sent.
type Question struct {
	Internal     bool // asked of an internal listener, else of a public one
	Client       netip.Addr
	Host, Target string
	Fields       []string // of its header, as "Name: value"
}

// field implements fields.
func (q Question) field(name string, nth int) []byte {
	for _, f := range q.Fields {
		if n, v, ok := strings.Cut(f, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			if nth == 0 {
				return []byte(strings.TrimSpace(v))
			}
			nth--
		}
	}
	return nil
}

// Trace is where a request for a host and path would go.
type Trace struct {
	// Known reports whether the host is in the table, with or without a route for the path.
	Known bool
	// Host and Path are those of the route in the table; Path is "" if there is no route for the path.
	Host, Path string
	Mapped     bool   // a mapped host; otherwise an app's own address
	Sticky     string // how clients are recognised; "" if the route is not sticky
	// Rule is the route's rule that the request matches; "" for none. Then Shares has only the rule's release.
	Rule   string
	Shares []Share
}

// Share is the part of a route's requests that a release takes.
type Share struct {
	Release   cloud.ReleaseRef // without a number for a part of micro
	Part      float64          // above 0, at most 1
	Instances []InstanceState
}

// InstanceState is the router's view of an instance.
type InstanceState struct {
	ID       cloud.InstanceID
	InFlight int64
	Ejected  bool // it has just refused connections, and gets requests only if no other instance can
}

// Trace returns where a request would go.
func (r *Router) Trace(q Question) (l Trace) {
	t := r.table.Load()
	var key [maxHostKey + 1]byte
	name := hostKey([]byte(q.Host), &key)
	if name == nil {
		return l
	}
	s := t.vhost(q.Internal, q.Client.IsLoopback(), &key, name)
	if s == nil {
		return l
	}
	l.Known = true
	route := s.find([]byte(q.Target), make([]byte, 0, len(q.Target)+1))
	if route == nil {
		for _, any := range s.routes {
			l.Host, l.Mapped = any.Host, any.mapped
		}
		return l
	}
	l.Host, l.Path, l.Mapped, l.Sticky = route.Host, route.Path, route.mapped, string(route.sticky.by)
	if o := r.ruleFor(route, q); o != nil {
		l.Rule = o.when.String()
		l.Shares = []Share{r.share(o.pool, 1)}
		return l
	}
	for _, share := range route.shares {
		l.Shares = append(l.Shares, r.share(share.pool, float64(share.weight)/float64(max(route.plan.total, 1))))
	}
	slices.SortStableFunc(l.Shares, func(a, b Share) int { return cmp.Compare(b.Part, a.Part) })
	return l
}

// ruleFor returns the rule of a route that a request matches, nil for none.
func (r *Router) ruleFor(route *Route, q Question) *rule {
	from := &origin{peer: netip.AddrPortFrom(q.Client, 0), client: q.Client.AppendTo(nil)}
	c := choice{r: r, route: route, from: from, fields: q}
	c.known, c.sticks = c.client()
	return c.rule()
}

func (r *Router) share(p *Pool, part float64) Share {
	s := Share{Release: p.Release, Part: part}
	now := r.now()
	for _, e := range p.Endpoints {
		s.Instances = append(s.Instances, InstanceState{e.ID, e.InFlight(), e.ejected(now)})
	}
	return s
}
