package dnsd

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// limiter bounds the UDP answers to each source prefix, so that a made-up source address can't use the
// server to flood somebody else. Half of the answers over the limit are sent truncated: who really is
// there comes again by TCP.
//
// It has a fixed number of buckets, which prefixes share by their hash under a secret seed: memory does
// not grow under attack.
type limiter struct {
	rate float64 // a second; 0 is without limit
	now  func() time.Time
	seed maphash.Seed

	mu      sync.Mutex
	buckets []bucket
}

type bucket struct {
	tokens float64
	last   time.Time
	over   uint32
}

const (
	defaultRate  = 200
	limitBuckets = 1 << 13
)

// ruling on one answer.
type ruling uint8

const (
	spend ruling = iota
	slip         // send it empty and truncated
	drop
)

func newLimiter(rate int, now func() time.Time) *limiter {
	l := &limiter{now: now, seed: maphash.MakeSeed()}
	switch {
	case rate == 0:
		l.rate = defaultRate
	case rate > 0:
		l.rate = float64(rate)
	}
	if l.rate > 0 {
		l.buckets = make([]bucket, limitBuckets)
	}
	return l
}

// take rules on an answer to a client. A bucket holds what a second brings.
func (l *limiter) take(client netip.Addr) ruling {
	if l.rate == 0 {
		return spend
	}
	bits := 24
	if client = client.Unmap(); client.Is6() {
		bits = 56
	}
	prefix, err := client.Prefix(bits)
	if err != nil {
		return drop // no address at all
	}
	b := &l.buckets[maphash.Comparable(l.seed, prefix)%limitBuckets]
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b.tokens = min(l.rate, b.tokens+l.rate*now.Sub(b.last).Seconds())
	if b.last.IsZero() {
		b.tokens = l.rate
	}
	b.last = now
	if b.tokens >= 1 {
		b.tokens--
		return spend
	}
	b.over++
	if b.over%2 == 0 {
		return drop
	}
	return slip
}
