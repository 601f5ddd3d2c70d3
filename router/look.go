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

// Look is what a table says of a host and path: where a request would go.
type Look struct {
	// Known says that the host is in the table, whether or not it has a route for the path.
	Known bool
	// Host and Path are the route as it is in the table; Path is "" where there is none for the path.
	Host, Path string
	Mapped     bool   // by somebody; else it is an app's own address
	Sticky     string // what clients are known again by, "" for not at all
	// Rule is the route's rule that the request matches, "" for none; Shares has its release alone then.
	Rule   string
	Shares []Share
}

// Share is the part of a route's requests that a release takes.
type Share struct {
	Release   cloud.ReleaseRef // without a number for a part of micro
	Part      float64          // above 0, at most 1
	Instances []Standing
}

// Standing is how the router sees an instance.
type Standing struct {
	ID       cloud.InstanceID
	InFlight int64
	Ejected  bool // it refused connections a moment ago, and gets requests only where no other can
}

// Look says where a request would go.
func (r *Router) Look(q Question) (l Look) {
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
		s.Instances = append(s.Instances, Standing{e.ID, e.InFlight(), e.ejected(now)})
	}
	return s
}
