package dnsd

import (
	"net/netip"
	"sync"
	"time"
)

// upstream is a resolver for names outside our zones, with what we learned about it. It exists as long as it
// is configured.
type upstream struct {
	addr netip.AddrPort

	mu    sync.Mutex
	edns  ednsSupport
	until time.Time // when ednsRejected expires
	heard time.Time // last message from it
	// down: it did not answer a whole attempt and sent nothing since. The other upstreams are asked first.
	down   bool
	probed time.Time // last query sent only to see whether it is back
}

// ednsSupport says whether an upstream answers queries with an OPT record. Some answer FORMERR, some not at
// all (RFC 6891, section 6.2.2).
type ednsSupport uint8

const (
	ednsUnknown ednsSupport = iota
	ednsWorks
	ednsRejected
)

const (
	rejectedFor = 15 * time.Minute // after FORMERR or a similar answer
	silentFor   = time.Minute      // after an answer only to queries without OPT: the others may just have been lost
	probeEvery  = 10 * time.Second // for an upstream that is down
)

func (u *upstream) ednsSupport() ednsSupport {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.edns == ednsRejected && time.Now().After(u.until) {
		u.edns = ednsUnknown
	}
	return u.edns
}

func (u *upstream) setEDNS(support ednsSupport, remember time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.edns, u.until = support, time.Now().Add(remember)
}

// setHeard records that the upstream sent a message.
func (u *upstream) setHeard() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.heard, u.down = time.Now(), false
}

// setSilent records that the upstream did not answer an attempt that began at a time. The upstream then counts
// as down, unless it sent another message since.
func (u *upstream) setSilent(began time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.heard.Before(began) && !u.down {
		u.down, u.probed = true, time.Now()
	}
}

func (u *upstream) isDown() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.down
}

// takeProbe reports whether the upstream is down and must be asked again now, to see whether it is back. If
// so, the caller must ask it.
func (u *upstream) takeProbe() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.down || time.Since(u.probed) < probeEvery {
		return false
	}
	u.probed = time.Now()
	return true
}
