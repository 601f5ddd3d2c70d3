package router

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	// The largest number and size of the requests that wait while a host is held.
	maxParked      = 8192
	maxParkedBytes = 64 << 20
)

// parking is where new requests of a host wait while somebody holds it. It is kept from table to table, and after the hold
// until the host's next one, because its figures are asked for then.
type parking struct {
	id    string
	until time.Time
	lot   lot

	waited, refused, late atomic.Int64 // requests
	longest               atomic.Int64 // wait, in nanoseconds
}

func newParking(h *cloud.HostHold) *parking {
	return &parking{id: h.ID, until: h.Until, lot: lot{most: maxParked, mostBytes: maxParkedBytes}}
}

// Parked is what became of the requests that came while a host was held.
type Parked struct {
	Waited  int64         // all that waited
	Refused int64         // for which there was no room
	Late    int64         // of Waited, those that got 503 when the hold's time was over
	Longest time.Duration // wait
	Left    int           // that still wait
}

// Parked returns what became of the requests during a hold. It knows the last one of each host.
func (r *Router) Parked(h cloud.Host, id string) Parked {
	v, ok := r.table.Load().internal.lookup(string(h))
	if !ok || v.parking == nil || v.parking.id != id {
		return Parked{}
	}
	p := v.parking
	return Parked{p.waited.Load(), p.refused.Load(), p.late.Load(), time.Duration(p.longest.Load()), int(p.lot.n.Load())}
}

// held reports whether the host of a parking is still held.
func (r *Router) held(host string, p *parking) bool {
	v, ok := r.table.Load().internal.lookup(host)
	return ok && v.held && v.parking == p
}

// park waits until the request's host is no longer held and those before it have gone on, and then counts the request in.
func (x *exchange) park(p *parking) fault {
	r := x.c.r
	begun := time.Now()
	limit := p.until.Sub(begun)
	if limit <= 0 {
		return x.claimOrHold()
	}
	h := p.lot.enter(len(x.buf), false)
	if h == nil {
		p.refused.Add(1)
		return faultParkedTooMany(limit)
	}
	p.waited.Add(1)
	defer func() {
		p.lot.leave(h)
		wait := time.Since(begun)
		x.Held += wait
		for longest := p.longest.Load(); int64(wait) > longest && !p.longest.CompareAndSwap(longest, int64(wait)); longest = p.longest.Load() {
		}
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	look := time.NewTicker(heldLook)
	defer look.Stop()
	for first, held := h.first, true; ; {
		// Taken before the look at the table, so that no table is missed.
		swapped := r.nextTable()
		held = held && r.held(x.route.Host, p)
		if !held && first == nil {
			x.pool, x.pinned, x.ruled = nil, false, false
			if f := x.find(); f.status != 0 { // the command may have changed the route
				return f
			}
			return x.claimOrHold()
		}
		select {
		case <-first:
			first = nil
		case <-swapped:
		case <-look.C:
			if r.closing.Load() {
				return faultNoEndpoints
			}
			if x.c.w.departed() {
				return faultClientGone
			}
		case <-late.C:
			if held {
				p.late.Add(1)
				return faultParkedLate
			}
		}
	}
}

var faultParkedLate = fault{503, "held", "The host's requests were held for as long as its operator allowed.", 1}

func faultParkedTooMany(left time.Duration) fault {
	return fault{503, "held", fmt.Sprintf("The host's requests are held for %v at most, and as many as the router holds are waiting.", left.Round(time.Second)), max(1, int(left.Seconds()))}
}
