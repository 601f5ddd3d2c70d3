package dnsd

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// limiter limits the rate of UDP answers to each source prefix, so that an attacker with a forged source
// address can't use the server to flood another host. Every second answer over the limit is sent truncated,
// so that real clients ask again by TCP.
//
// The number of buckets is fixed, so memory does not grow under attack. Prefixes share buckets by their hash
// with a secret seed.
type limiter struct {
	rate float64 // answers per second; 0 is unlimited
	now  func() time.Time
	seed maphash.Seed

	mu      sync.Mutex
	buckets []bucket
}

type bucket struct {
	tokens  float64
	last    time.Time
	refused uint32
}

const (
	defaultRate  = 200
	limitBuckets = 1 << 13
)

// limitResult says what to do with one answer.
type limitResult uint8

const (
	pass limitResult = iota
	slip             // send it empty and truncated
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

// take says whether an answer to a client may be sent. A bucket holds the answers of one second.
func (l *limiter) take(client netip.Addr) limitResult {
	if l.rate == 0 {
		return pass
	}
	bits := 24
	if client = client.Unmap(); client.Is6() {
		bits = 56
	}
	prefix, err := client.Prefix(bits)
	if err != nil {
		return drop // the address is invalid
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
		return pass
	}
	b.refused++
	if b.refused%2 == 0 {
		return drop
	}
	return slip
}
