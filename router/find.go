package router

import (
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h1"
)

// find looks the request's route up, in the table that holds for all of the request.
func (x *exchange) find() fault {
	c := x.c
	if c.denied {
		return faultNotExposed
	}
	x.table = c.r.table.Load()
	if x.route = x.lookup(x.table); x.route == nil {
		return faultUnknown
	}
	if x.route.mapped {
		x.RouteHost, x.RoutePath = x.route.Host, x.route.Path
	}
	if v := x.req.Get(h1.XMicroRelease); v != nil && len(x.route.apps) > 0 {
		if c.internal {
			return x.pin(x.route.apps[0], v)
		}
		for _, app := range x.route.apps {
			if release, ok := passed(c.r.passKey, cloud.Host(x.route.Host), app, v, time.Now()); ok {
				return x.pin(app, release)
			}
		}
	}
	return fault{}
}

func (x *exchange) lookup(t *Table) *Route {
	host := hostKey(x.req.Host, &x.host)
	if host == nil {
		return nil
	}
	if n := len(x.req.Target); cap(x.scratch) < n+1 {
		x.scratch = make([]byte, 0, n+1)
	}
	return t.find(x.c.internal, x.c.loopback, &x.host, host, x.req.Target, x.scratch)
}

// pin leads the request to the release that it asks for, of an app that the route leads to.
func (x *exchange) pin(app cloud.AppRef, release []byte) fault {
	var key [128]byte
	b := key[:0]
	if app.Group != cloud.DefaultGroup {
		b = append(append(b, app.Group...), '/')
	}
	b = append(append(append(b, app.App...), '@'), release...)
	pool, ok := x.table.pools.get(b)
	if !ok {
		return faultRelease
	}
	x.pool, x.Pinned = pool, true
	return fault{}
}

// claim counts the request in at an endpoint that has not been tried yet.
func (x *exchange) claim() fault {
	r := x.c.r
	for {
		if x.pool == nil {
			if client, ok := x.client(); ok {
				x.pool = x.route.held(client)
			} else {
				x.pool = x.route.pool()
			}
		}
		if x.claimIn(x.pool) {
			return fault{}
		}
		if !x.Pinned {
			// Better another release that the route leads to than no answer.
			for i := range x.route.shares {
				if x.claimIn(x.route.shares[i].pool) {
					return fault{}
				}
			}
		}
		// All of them may have left while we looked: then there is another table.
		t := r.table.Load()
		if t == x.table {
			return x.missed()
		}
		pinned := x.Pinned
		x.pool, x.Pinned = nil, false
		if f := x.find(); f.status != 0 {
			return f
		}
		if pinned != x.Pinned {
			return x.missed()
		}
	}
}

// missed is the end of a request that nobody took. It counts for whoever it was meant for.
func (x *exchange) missed() fault {
	switch {
	case x.Release.App != "":
	case x.pool != nil:
		x.Release = x.pool.Release
	default:
		x.Release = x.route.only
	}
	return faultNoEndpoints
}

func (x *exchange) claimIn(p *Pool) bool {
	if p == nil {
		return false
	}
	r := x.c.r
	e := p.claim(r.random(), r.now(), x.tried)
	if e == nil {
		return false
	}
	x.ep, x.pool = e, p
	x.Release, x.Instance, x.Nth = p.Release, e.ID, e.served.Add(1)
	return true
}

func (x *exchange) answerLimit() time.Duration {
	if l := x.route.limits.Answer; l > 0 {
		return l
	}
	return x.c.r.limits.Answer
}
