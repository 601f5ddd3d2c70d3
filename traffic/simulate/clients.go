package simulate

import (
	"math/rand/v2"
	"time"

	"github.com/protoduction/micro/traffic"
)

// Clients are those of a sticky route: each keeps its release. Some of them fail often, whatever release they are at.
type Clients struct {
	N        int           // at a time
	Noisy    float64       // part of them
	Failing  float64       // part of a noisy one's requests
	Stay     time.Duration // on average; then another one comes in its place
	ByClient bool          // the fade counts clients, not requests
}

// client is one of them.
type client struct {
	noisy, isNew  bool    // isNew: its release is the new one
	place         float64 // it is at the new release where this is below the share
	since, leaves time.Duration
	failed, known bool
}

// crowd is the clients of a world, and what became of those of each release.
type crowd struct {
	Clients
	all []client
	did [2]traffic.Clients // of the old and of the new release
}

func newCrowd(c Clients, rng *rand.Rand) *crowd {
	w := &crowd{Clients: c, all: make([]client, c.N)}
	for i := range w.all {
		w.all[i] = w.newClient(rng, 0)
		w.all[i].leaves = time.Duration(rng.ExpFloat64() * float64(c.Stay))
	}
	for i := range w.did {
		w.did[i].First = make([]uint64, len(bounds))
	}
	return w
}

func (w *crowd) newClient(rng *rand.Rand, now time.Duration) client {
	return client{noisy: rng.Float64() < w.Noisy, place: rng.Float64(), since: -1, leaves: now + time.Duration(rng.ExpFloat64()*float64(w.Stay))}
}

// clientTime is how long a client's requests decide what became of it, as in the router.
const clientTime = 10 * time.Second

// serve has clients send n requests in a second, to the release where each of them is at that share.
func (w *crowd) serve(rng *rand.Rand, n int, share float64, now time.Duration, old, fresh *server, latency Latency) {
	for i := range w.all {
		c := &w.all[i]
		if now >= c.leaves {
			*c = w.newClient(rng, now)
		}
		if isNew := c.place < share; isNew != c.isNew {
			c.isNew, c.since, c.failed, c.known = isNew, -1, false, false // the new release does not know it yet
		}
		if share > 0 && c.since >= 0 && !c.known && now-c.since >= clientTime {
			c.known = true
			did := &w.did[index(c.isNew)]
			did.Known++
			if c.failed {
				did.Failed++
			}
		}
	}
	for range n {
		c := &w.all[rng.IntN(len(w.all))]
		at := old
		if c.isNew {
			at = fresh
		}
		took := latency(rng)
		if share > 0 && c.since < 0 {
			c.since = now
			w.did[index(c.isNew)].First[bucket(took)]++
		}
		at.did.Started++
		at.did.Counts[bucket(took)]++
		if rng.Float64() < at.Failing || c.noisy && rng.Float64() < w.Failing {
			c.failed = c.failed || now-c.since < clientTime
			at.end(5)
		} else {
			at.end(2)
		}
	}
}

func index(isNew bool) int {
	if isNew {
		return 1
	}
	return 0
}

// samples returns what both releases did, as the fade counts it.
func (w *crowd) samples(old, fresh *server) (a, b traffic.Sample) {
	a, b = old.did, fresh.did
	if !w.ByClient {
		return a, b
	}
	a.Clients, b.Clients = w.did[0], w.did[1]
	return a.ByClient(), b.ByClient()
}
