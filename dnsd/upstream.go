package dnsd

import (
	"net/netip"
	"sync"
	"time"
)

// upstream is a resolver that is asked for names that are not ours, and what is known of it. It lives as
// long as it is configured.
type upstream struct {
	addr netip.AddrPort

	mu    sync.Mutex
	edns  ednsSupport
	until time.Time // ednsRejected is tried again after that
	heard time.Time // when a message last came from it
	// down: it was silent for a whole attempt, and has not been heard since. The others are asked first.
	down   bool
	probed time.Time // when it was last asked only to see whether it is back
}

// ednsSupport says whether an upstream answers queries with an OPT record (RFC 6891, section 6.2.2: some
// answer FORMERR, some not at all).
type ednsSupport uint8

const (
	ednsUnknown ednsSupport = iota
	ednsWorks
	ednsRejected
)

const (
	rejectedFor = 15 * time.Minute // an upstream that answered FORMERR or the like
	silentFor   = time.Minute      // one that only answered without: perhaps the others were lost on the way
	probeEvery  = 10 * time.Second // an upstream that is down
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

// setHeard records that the upstream is there.
func (u *upstream) setHeard() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.heard, u.down = time.Now(), false
}

// setSilent records that the upstream did not answer an attempt that began at a time. It counts as down,
// unless it answered something else meanwhile.
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

// takeProbe reports whether the upstream is down and it is time to ask it again; the caller must do so.
func (u *upstream) takeProbe() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.down || time.Since(u.probed) < probeEvery {
		return false
	}
	u.probed = time.Now()
	return true
}
