package router

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// sticky is how a route recognises clients.
type sticky struct {
	by     cloud.StickyBy // "" for not at all
	header string         // in lower case
}

func newSticky(s *cloud.Sticky) sticky {
	if s == nil {
		return sticky{}
	}
	return sticky{s.By, strings.ToLower(s.Header)}
}

// held returns the pool that a client keeps, by weighted rendezvous hashing: raising a pool's share moves clients to it, and
// none between the others; lowering it does the reverse.
func (r *Route) held(client uint64) *Pool {
	var best *Pool
	top := math.Inf(-1)
	for i := range r.shares {
		s := &r.shares[i]
		// A number in (0, 1), its logarithm scaled by the weight.
		u := (float64(mix(client^s.pool.hash)>>11) + .5) / (1 << 53)
		if score := -float64(s.weight) / math.Log(u); score > top {
			best, top = s.pool, score
		}
	}
	return best
}

// client returns the hash that identifies the client on its route; false if the request has no such value.
func (c *choice) client() (uint64, bool) {
	switch c.route.sticky.by {
	case cloud.StickyCookie:
		c.readCookie()
		return c.hash(c.id[:]), true
	case cloud.StickyHeader:
		v := c.fields.field(c.route.sticky.header, 0)
		return c.hash(v), len(v) > 0
	case cloud.StickyClient:
		return c.hash(c.from.client), true
	}
	return 0, false
}

// clientKey returns the hash of what the client is known by: as the route keeps its clients, else by its address.
func (c *choice) clientKey() uint64 {
	if c.sticks {
		return c.known | 1
	}
	return c.hash(c.from.client) | 1
}

// claimSticky counts a request at the instance that its client keeps; false if there is none.
//
// A client with a cookie stays with the instance in the cookie as long as that takes requests. If its share has moved to
// another release, it stays only while it is active: so a growing share gets clients, and their running work is not
// interrupted. For other clients rendezvous hashing chooses the instance, too: a new instance takes over its part of the
// clients.
func (c *choice) claimSticky(client uint64) bool {
	now := c.r.now()
	if c.route.sticky.by != cloud.StickyCookie {
		return c.pool != nil && c.count(c.pool.claimHeld(client, now, c.tried), c.pool)
	}
	if c.bound == 0 {
		return false
	}
	pool, e := c.route.bound(c.bound, c.pool, c.boundAge <= cookieActive && !c.ruled)
	if e == nil || e.ejected(now) || slices.Contains(c.tried, e) || !e.claim() {
		return false
	}
	return c.count(e, pool)
}

// bound returns the instance with a tag and its pool, nil where the route has none. Outside of own it is looked for
// only with others.
func (r *Route) bound(tag uint64, own *Pool, others bool) (*Pool, *Endpoint) {
	if e := own.bound(tag); e != nil {
		return own, e
	}
	for i := range r.shares {
		if !others {
			break
		}
		p := r.shares[i].pool
		if e := p.bound(tag); e != nil {
			return p, e
		}
	}
	return nil, nil
}

// bound returns the pool's instance with a tag, nil for none.
func (p *Pool) bound(tag uint64) *Endpoint {
	if p == nil {
		return nil
	}
	for _, e := range p.Endpoints {
		if e.tag == tag {
			return e
		}
	}
	return nil
}

// claimHeld counts a request at the endpoint that a client keeps, by rendezvous hashing over those that take requests.
func (p *Pool) claimHeld(client uint64, now int64, tried []*Endpoint) *Endpoint {
	for range p.Endpoints {
		var best *Endpoint
		var top uint64
		for _, e := range p.Endpoints {
			if e.draining() || e.ejected(now) || slices.Contains(tried, e) {
				continue
			}
			if score := mix(client ^ e.hash); best == nil || score > top {
				best, top = e, score
			}
		}
		if best == nil || best.claim() {
			return best
		}
	}
	return nil
}

// hash hashes what a client is known by. The seed is the cloud's own, so that nobody can choose a client's
// release by choosing its name.
func (c *choice) hash(b []byte) uint64 { return mix(c.route.turns.seed ^ fnv(b)) }

func fnv[T string | []byte](b T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * 1099511628211
	}
	return h
}

// cookieValue returns the value of a cookie, nil where there is none (RFC 6265, section 5.4).
func (c *choice) cookieValue(name string) []byte {
	for n := 0; ; n++ {
		rest := c.fields.field("cookie", n)
		if rest == nil {
			return nil
		}
		for len(rest) > 0 {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte(";"))
			pair = bytes.TrimSpace(pair)
			if len(pair) > len(name) && pair[len(name)] == '=' && string(pair[:len(name)]) == name {
				return pair[len(name)+1:]
			}
		}
	}
}
