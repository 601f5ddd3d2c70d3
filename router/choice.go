package router

import (
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
)

// choice finds the endpoint for a request of any protocol: from host and path to a route, from the route to a release's
// pool, and from the pool to an endpoint. It uses one table for the whole request, and the next table only if all endpoints
// have left.
type choice struct {
	r            *Router
	from         *origin
	host, target []byte // as received
	fields       fields

	table    *Table
	limits   *limits // of the route, or of the cloud if there is none; nil before the look-up
	route    *Route
	pool     *Pool
	endpoint *Endpoint   // that has counted the request
	tried    []*Endpoint // that have failed this request
	pinned   bool        // the client has chosen the release
	link     *link       // that the client has opened, nil for none
	through  string      // the host whose route a connection takes that is passed on, "" for a request
	ruled    bool        // a rule of the route names the release
	sticks   bool        // the client stays with its release and instance
	known    uint64      // hash of what identifies the client
	release  cloud.ReleaseRef
	nth      uint64        // number of the request at its endpoint, from 1
	age      time.Duration // of the endpoint, since its first request
	streams  bool          // the endpoint counts it as a stream

	key     [maxHostKey + 1]byte
	scratch []byte
	clientCookie
	newCookie bool // send a cookie with the answer
}

// fields are a request's header fields.
type fields interface {
	// field returns the value of the nth field, from 0, with a name in lower case; nil if there are fewer.
	field(name string, nth int) []byte
}

// reset prepares the choice for another request.
func (c *choice) reset(r *Router, from *origin, f fields) {
	clear(c.tried)
	c.r, c.from, c.fields = r, from, f
	c.host, c.target = nil, nil
	c.table, c.route, c.link, c.pool, c.endpoint, c.tried = nil, nil, nil, nil, nil, c.tried[:0]
	c.pinned, c.ruled, c.through = false, false, ""
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
	if c.route.passes && c.through == "" && c.from.scheme == "https" {
		return faultMisdirected // the app's TLS is on connections of its own
	}
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
	if port, ok := strings.CutPrefix(c.through, "tcp:"); ok && port != "" {
		hosts := c.table.public
		if c.from.internal {
			hosts = c.table.internal
		}
		if v, ok := hosts.lookup(c.through); ok {
			return v.root
		}
		return nil
	}
	if c.through != "" {
		c.host, c.target = append(c.scratch[:0], c.through...), nil
		host := hostKey(c.host, &c.key)
		if v := c.table.vhost(c.from.internal, c.from.loopback, &c.key, host); v != nil {
			return v.root
		}
		return nil
	}
	host := hostKey(c.host, &c.key)
	if host == nil {
		return nil
	}
	if n := len(c.target); cap(c.scratch) < n+1 {
		c.scratch = make([]byte, 0, n+1)
	}
	return c.table.find(c.from.internal, c.from.loopback, &c.key, host, c.target, c.scratch)
}

// pin chooses the release that the client asks for, of an app of the route.
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

// claim finds an endpoint that has not been tried, and counts the request there.
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
			// An answer from another release of the route is better than none.
			for i := range c.route.shares {
				if c.claimIn(c.route.shares[i].pool) {
					c.ruled = false
					return fault{}
				}
			}
		}
		// If all endpoints have left since the table was loaded, there is a newer table.
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

// missed ends a request that no endpoint took. It counts for the release that should have answered.
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

// count records the endpoint that has counted the request; false for nil.
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

// unclaim ends the count of the request at its endpoint.
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

// reject ends the count at an endpoint that failed the request, and excludes that endpoint from further tries.
func (c *choice) reject() {
	c.tried = append(c.tried, c.endpoint)
	c.unclaim()
}
