package router

import (
	"cmp"
	"slices"

	"github.com/protoduction/micro/cloud"
)

// Look is what a table says of a host and path: where a request would go.
type Look struct {
	// Known says that the host is in the table, whether or not it has a route for the path.
	Known bool
	// Host and Path are the route as it is in the table; Path is "" where there is none for the path.
	Host, Path string
	Mapped     bool   // by somebody; else it is an app's own address
	Sticky     string // what clients are known again by, "" for not at all
	Shares     []Share
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

// Look says where a request for host and target would go, on an internal listener or a public one, from
// this machine itself or not.
func (r *Router) Look(internal, loopback bool, host, target string) (l Look) {
	t := r.table.Load()
	var key [maxHostKey + 1]byte
	name := hostKey([]byte(host), &key)
	if name == nil {
		return l
	}
	s := t.vhost(internal, loopback, &key, name)
	if s == nil {
		return l
	}
	l.Known = true
	route := s.find([]byte(target), make([]byte, 0, len(target)+1))
	if route == nil {
		for _, any := range s.routes {
			l.Host, l.Mapped = any.Host, any.mapped
		}
		return l
	}
	l.Host, l.Path, l.Mapped, l.Sticky = route.Host, route.Path, route.mapped, string(route.sticky.by)
	now := r.now()
	for _, share := range route.shares {
		one := Share{Release: share.pool.Release, Part: float64(share.weight) / float64(max(route.plan.total, 1))}
		for _, e := range share.pool.Endpoints {
			one.Instances = append(one.Instances, Standing{e.ID, e.InFlight(), e.ejected(now)})
		}
		l.Shares = append(l.Shares, one)
	}
	slices.SortStableFunc(l.Shares, func(a, b Share) int { return cmp.Compare(b.Part, a.Part) })
	return l
}
