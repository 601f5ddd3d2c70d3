package router

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// choice finds the endpoint for a request, whatever protocol it came in: host and path lead to a route, the
// route to a release's pool, the pool to an endpoint. Every choice of a request is made in one table; where all
// endpoints of that one have left meanwhile, in the next.
type choice struct {
	r            *Router
	from         *origin
	host, target []byte // as they came
	fields       fields

	table    *Table
	limits   *limits // of the route, where there is one; nil before the route was looked for
	route    *Route
	pool     *Pool
	endpoint *Endpoint   // that the request is counted in at
	tried    []*Endpoint // that have failed the request
	pinned   bool        // the client asks for this very release
	link     *link       // that the client has opened, nil for none
	ruled    bool        // a rule of the route names the release
	sticks   bool        // the client is kept with its release and instance
	known    uint64      // what it is known by, hashed
	release  cloud.ReleaseRef
	nth      uint64        // which request of its endpoint this is
	age      time.Duration // of the endpoint, since its first request
	streams  bool          // it is counted among its endpoint's streams

	key     [maxHostKey + 1]byte
	scratch []byte
	clientCookie
	newCookie bool // the client is to get one with the answer
}

// fields are a request's header fields.
type fields interface {
	// field returns the value of the nth field of a name in lower case, from 0; nil where there are fewer.
	field(name string, nth int) []byte
}

// reset makes the choice ready for another request.
func (c *choice) reset(r *Router, from *origin, f fields) {
	clear(c.tried)
	c.r, c.from, c.fields = r, from, f
	c.host, c.target = nil, nil
	c.table, c.route, c.link, c.pool, c.endpoint, c.tried = nil, nil, nil, nil, nil, c.tried[:0]
	c.pinned, c.ruled = false, false
	c.sticks, c.newCookie, c.release, c.nth, c.limits = false, false, cloud.ReleaseRef{}, 0, nil
	c.clientCookie = clientCookie{}
}

// find looks up the request's route, and the release that it asks for, if any.
func (c *choice) find() fault {
	if c.from.denied {
		return faultNotExposed
	}
	c.table = c.r.table.Load()
	c.limits = c.table.limits
	if c.route = c.opened(); c.route == nil {
		c.route = c.lookup()
	}
	if c.route == nil {
		return faultUnknown
	}
	c.limits = c.route.limits
	if f := c.route.tls.admits(c.from); f.status != 0 {
		return f
	}
	if len(c.route.apps) == 0 {
		return fault{}
	}
	v := c.fields.field("x-micro-release", 0)
	if v == nil {
		return fault{}
	}
	if c.from.internal {
		return c.pin(c.route.apps[0], v)
	}
	for _, app := range c.route.apps {
		if release, ok := passed(c.r.passKey, cloud.Host(c.route.Host), app, v, time.Now()); ok {
			return c.pin(app, release)
		}
	}
	return fault{}
}

func (c *choice) lookup() *Route {
	host := hostKey(c.host, &c.key)
	if host == nil {
		return nil
	}
	if n := len(c.target); cap(c.scratch) < n+1 {
		c.scratch = make([]byte, 0, n+1)
	}
	return c.table.find(c.from.internal, c.from.loopback, &c.key, host, c.target, c.scratch)
}

// pin leads the request to the release that it asks for, of an app that the route leads to.
func (c *choice) pin(app cloud.AppRef, release []byte) fault {
	var key [128]byte
	b := key[:0]
	if app.Group != cloud.DefaultGroup {
		b = append(append(b, app.Group...), '/')
	}
	b = append(append(append(b, app.App...), '@'), release...)
	pool, ok := c.table.pools.get(b)
	if !ok {
		return faultRelease
	}
	c.pool, c.pinned = pool, true
	return fault{}
}

// claim counts the request in at an endpoint that has not been tried yet.
func (c *choice) claim() fault {
	for {
		if c.pool == nil {
			c.known, c.sticks = c.client()
			switch rule := c.rule(); {
			case rule != nil:
				c.pool, c.ruled = rule.pool, true
			case c.sticks:
				c.pool = c.route.held(c.known)
			default:
				c.pool = c.route.pool()
			}
		}
		if c.sticks && c.claimSticky(c.known) || c.claimIn(c.pool) {
			return fault{}
		}
		if !c.pinned {
			// Better another release that the route leads to than no answer.
			for i := range c.route.shares {
				if c.claimIn(c.route.shares[i].pool) {
					c.ruled = false
					return fault{}
				}
			}
		}
		// All of them may have left since the table was loaded: then there is another one.
		if c.r.table.Load() == c.table {
			return c.missed()
		}
		pinned := c.pinned
		c.pool, c.pinned, c.ruled = nil, false, false
		if f := c.find(); f.status != 0 {
			return f
		}
		if pinned != c.pinned {
			return c.missed()
		}
	}
}

// missed is the end of a request that nobody took. It counts for the release that it was meant for.
func (c *choice) missed() fault {
	switch {
	case c.release.App != "":
	case c.pool != nil:
		c.release = c.pool.Release
	default:
		c.release = c.route.only
	}
	return faultNoEndpoints
}

func (c *choice) claimIn(p *Pool) bool {
	if p == nil {
		return false
	}
	return c.count(p.claim(c.r.random(), c.r.now(), c.tried), p)
}

// count notes the endpoint that the request is counted in at; false for none.
func (c *choice) count(e *Endpoint, p *Pool) bool {
	if e == nil {
		return false
	}
	c.endpoint, c.pool = e, p
	c.release, c.nth = p.Release, e.served.Add(1)
	now := c.r.now()
	if c.nth == 1 {
		e.first.Store(now)
	}
	c.age = time.Duration(now - e.first.Load())
	c.newCookie = c.sticks && c.route.sticky.by == cloud.StickyCookie && c.cookieDue()
	return true
}

// countStream counts the request as a stream from now on.
func (c *choice) countStream() {
	if c.endpoint != nil && !c.streams {
		c.streams = true
		c.endpoint.streams.Add(1)
	}
}

// unclaim counts the request out.
func (c *choice) unclaim() {
	if c.endpoint != nil {
		if c.streams {
			c.streams = false
			c.endpoint.streams.Add(-1)
		}
		c.endpoint.release()
		c.endpoint = nil
	}
}

// reject counts the request out at an endpoint that failed it, and leaves that one out from now on.
func (c *choice) reject() {
	c.tried = append(c.tried, c.endpoint)
	c.unclaim()
}
