package router

import (
	"slices"
	"sync/atomic"
)

// turns counts a route's requests, so that its shares are exact.
type turns struct {
	n    atomic.Uint64
	seed uint64
	// copies counts the requests that could be copied, under way those that are.
	copies   atomic.Uint64
	underWay atomic.Int64
}

// schedule returns the slot of the nth request. In total consecutive requests, each slot occurs once, and neighbouring slots
// are far apart in time: it steps by about total/φ (golden section).
//
// With explicit shares each round begins at another slot, by the seed. Otherwise a client with a request pattern of the same
// length would always get the same release.
func schedule(n, total, stride, seed uint64, explicit bool) uint64 {
	if total <= 1 {
		return 0
	}
	slot := n % total * stride
	if explicit {
		slot += mix(seed+n/total) % total
	}
	return slot % total
}

// stride is the number nearest to total/φ that has no divisor in common with total.
func stride(total uint64) uint64 {
	if total <= 2 {
		return 1
	}
	near := uint64(float64(total)*0.6180339887498949 + 0.5)
	for d := uint64(0); ; d++ {
		if near+d < total && gcd(near+d, total) == 1 {
			return near + d
		}
		if near > d && gcd(near-d, total) == 1 {
			return near - d
		}
	}
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// mix is the finisher of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// plan is a route's shares made ready for the schedule.
type plan struct {
	total, stride uint64
}

// pool returns the pool of the next request; nil if no target takes requests.
func (r *Route) pool() *Pool {
	switch len(r.shares) {
	case 0:
		return nil
	case 1:
		return r.shares[0].pool
	}
	slot := schedule(r.turns.n.Add(1)-1, r.plan.total, r.plan.stride, r.turns.seed, r.explicit)
	return r.poolAt(slot)
}

// poolAt returns the pool of a slot.
func (r *Route) poolAt(slot uint64) *Pool {
	for i := range r.shares {
		s := &r.shares[i]
		if slot < s.weight {
			return s.pool
		}
		slot -= s.weight
	}
	return nil
}

// streamsAlike is how many streams more than another an endpoint needs for a much smaller part of the requests.
const streamsAlike = 8

// lessLoaded returns the endpoint with fewer requests in flight. If both have the same number, it chooses at random, with a
// preference for fewer streams: a single idle WebSocket hardly matters, a hundred do.
func lessLoaded(a, b *Endpoint, random uint64, now int64) *Endpoint {
	la, lb := a.load(now), b.load(now)
	if la != lb {
		if lb < la {
			return b
		}
		return a
	}
	sa, sb := uint64(max(0, a.streams.Load())), uint64(max(0, b.streams.Load()))
	if sa != sb && random%(sa+sb+2*streamsAlike) < sa+streamsAlike {
		return b
	}
	return a
}

// claim picks the less loaded of two endpoints at random, preferably on this node, and counts a request in. Endpoints that could
// not be connected to a moment ago come last, those in tried not at all; nil where none is left.
// random is any number, now the router's clock.
func (p *Pool) claim(random uint64, now int64, tried []*Endpoint) *Endpoint {
	n := uint64(len(p.Endpoints))
	if n == 0 {
		return nil
	}
	i := random % n
	var a *Endpoint
	if p.near != nil {
		a = p.pickNear(random, now)
	} else {
		a = twoOf(p.Endpoints, random, now)
	}
	if !a.ejected(now) && !slices.Contains(tried, a) && a.claim() {
		return a
	}
	// Something is wrong with it: take the best of the others.
	for range p.Endpoints {
		var best *Endpoint
		for k := range p.Endpoints {
			e := p.Endpoints[(i+uint64(k))%n]
			if !e.draining() && !slices.Contains(tried, e) && (best == nil || e.load(now) < best.load(now)) {
				best = e
			}
		}
		if best == nil || best.claim() {
			return best
		}
	}
	return nil
}
