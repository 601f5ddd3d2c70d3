package router

import (
	"bytes"
	"math"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// cookieName is the cookie that a client is known again by. Its value says nothing but who is who.
const cookieName = "micro_sticky"

// sticky is how a route knows a client again.
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

// held returns the pool that a client keeps: weighted rendezvous hashing, so that raising one pool's
// share moves clients to it and none between the others, and lowering it the other way round.
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

// client returns what the client is known by on its route; false where it has nothing of the kind. Who has no
// cookie gets one along with the answer.
func (c *choice) client() (uint64, bool) {
	switch c.route.sticky.by {
	case cloud.StickyCookie:
		id := c.cookieValue(cookieName)
		if len(id) != len(c.cookie) {
			id = appendHex(appendHex(c.cookie[:0], c.r.random()), c.r.random())
			c.newCookie = true
		}
		return c.hash(id), true
	case cloud.StickyHeader:
		v := c.fields.field(c.route.sticky.header, 0)
		return c.hash(v), len(v) > 0
	case cloud.StickyClient:
		return c.hash(c.from.client), true
	}
	return 0, false
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

// appendCookie adds the client's new cookie, for 30 days.
func (c *choice) appendCookie(b []byte) []byte {
	b = append(b, "Set-Cookie: "+cookieName+"="...)
	b = append(b, c.cookie[:]...)
	b = append(b, "; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"...)
	if c.from.scheme == "https" {
		b = append(b, "; Secure"...)
	}
	return append(b, "\r\n"...)
}
