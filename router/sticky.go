package router

import (
	"bytes"
	"math"
	"strings"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h1"
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

// client tells who the request is from, as its route knows clients; false where that can't be told.
// Who has no cookie gets one along with the answer.
func (x *exchange) client() (uint64, bool) {
	switch x.route.sticky.by {
	case cloud.StickyCookie:
		id := cookie(&x.req, cookieName)
		if len(id) != len(x.cookie) {
			random := x.c.r.random
			id = appendHex(appendHex(x.cookie[:0], random()), random())
			x.newCookie = true
		}
		return x.key(id), true
	case cloud.StickyHeader:
		v := x.req.Lookup(x.route.sticky.header)
		return x.key(v), len(v) > 0
	case cloud.StickyClient:
		if x.c.trusted {
			// Whom the proxy has seen is what it said last.
			if v := x.req.Get(h1.XForwardedFor); len(v) > 0 {
				return x.key(bytes.TrimSpace(v[bytes.LastIndexByte(v, ',')+1:])), true
			}
		}
		return x.key(x.c.client), true
	}
	return 0, false
}

// key hashes what a client is known by. The seed is the cloud's own, so that nobody can choose a
// client's release by choosing its name.
func (x *exchange) key(b []byte) uint64 { return mix(x.route.turns.seed ^ fnv(b)) }

func fnv[T string | []byte](b T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * 1099511628211
	}
	return h
}

// cookie returns the value of a cookie, nil where there is none (RFC 6265, section 5.4).
func cookie(q *h1.Request, name string) []byte {
	fields := q.Fields()
	for i := range fields {
		if fields[i].Name != h1.Cookie {
			continue
		}
		for rest := q.Value(&fields[i]); len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte(";"))
			pair = bytes.TrimSpace(pair)
			if len(pair) > len(name) && pair[len(name)] == '=' && string(pair[:len(name)]) == name {
				return pair[len(name)+1:]
			}
		}
	}
	return nil
}

// appendCookie adds the client's new cookie, for 30 days.
func (x *exchange) appendCookie(b []byte) []byte {
	b = append(b, "Set-Cookie: "+cookieName+"="...)
	b = append(b, x.cookie[:]...)
	b = append(b, "; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"...)
	if x.c.scheme == "https" {
		b = append(b, "; Secure"...)
	}
	return append(b, "\r\n"...)
}
