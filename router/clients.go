package router

import (
	"sync/atomic"
	"time"
)

// clients counts a release's requests by client, while a cross-fade compares it. It has a fixed size, and allocates
// nothing for a request: clients that find no place are left out.
type clients struct {
	slots  [clientSlots]clientSlot
	begun  int64        // when the cross-fade began, in Unix seconds
	latest atomic.Int64 // seconds from begun to the latest request
	first  Histogram    // of each client's first request
}

const (
	clientSlots = 1 << 13
	// clientProbes is how many places a client may have.
	clientProbes = 8
	// clientTime is how long a client's requests decide what became of it, from its first one.
	clientTime = 10 * time.Second
	// busiest is how many clients are looked at to say that few make most of the requests.
	busiest = 5
)

// clientSlot has what is known of one client. state has what became of it in the upper 4 bits, the second of its first
// request in the next 28, and the number of its requests in the lower 32.
type clientSlot struct{ key, state atomic.Uint64 }

const (
	clientFailed = 1 << 63
	clientOther  = 1 << 62 // answered with 4xx
	clientMoved  = 1 << 61 // answered with 3xx
	clientSeen   = 1 << 60 // its first request has been counted
	clientCount  = 1<<32 - 1
)

// record counts a request of a client.
func (c *clients) record(x *Exchange, warming bool) {
	second := max(x.Start.Unix()-c.begun, 0)
	for last := c.latest.Load(); second > last && !c.latest.CompareAndSwap(last, second); {
		last = c.latest.Load()
	}
	s := c.slot(x.ClientKey)
	if s == nil {
		return
	}
	state := s.state.Add(1)
	if state&clientSeen == 0 {
		// Two of its requests may come here at a time: only one of them is the first.
		if s.state.CompareAndSwap(state, state|clientSeen|uint64(second)&(1<<28-1)<<32) && x.timed() && !warming {
			c.first.Add(x.First)
		}
		state = s.state.Load()
	}
	if second-clientSecond(state) >= int64(clientTime/time.Second) {
		return
	}
	switch {
	case x.failed():
		s.state.Or(clientFailed)
	case x.class() == 4:
		s.state.Or(clientOther)
	case x.class() == 3:
		s.state.Or(clientMoved)
	}
}

func clientSecond(state uint64) int64 { return int64(state >> 32 & (1<<28 - 1)) }

// slot returns a client's place; nil if there is none left.
func (c *clients) slot(key uint64) *clientSlot {
	for i := range uint64(clientProbes) {
		s := &c.slots[(key+i)%clientSlots]
		has := s.key.Load()
		if has == 0 && s.key.CompareAndSwap(0, key) {
			return s
		}
		if has == key || has == 0 && s.key.Load() == key {
			return s
		}
	}
	return nil
}

// ClientCounts are the requests of a release by client, since a cross-fade began to compare it.
type ClientCounts struct {
	// Known are clients whose first request is ten seconds old. The others count them by what became of a request of
	// theirs by then: Failed ones, else Other ones (4xx), else Moved ones (3xx).
	Known  uint64 `json:"known,omitempty"`
	Failed uint64 `json:"failed,omitempty"`
	Other  uint64 `json:"other,omitempty"`
	Moved  uint64 `json:"moved,omitempty"`
	// Requests are those of all clients, and Busiest those of the five that had most.
	Requests uint64 `json:"requests,omitempty"`
	Busiest  uint64 `json:"busiest,omitempty"`
	// First has the latency of each client's first request.
	First Snapshot `json:"first,omitzero"`
}

func (c *clients) counts() (out ClientCounts) {
	if c == nil {
		return out
	}
	var top [busiest]uint64
	now := c.latest.Load()
	for i := range c.slots {
		state := c.slots[i].state.Load()
		n := state & clientCount
		if n == 0 {
			continue
		}
		out.Requests += n
		for k := 0; k < busiest; k++ {
			if n > top[k] {
				n, top[k] = top[k], n
			}
		}
		if state&clientSeen == 0 || now-clientSecond(state) < int64(clientTime/time.Second) {
			continue
		}
		out.Known++
		switch {
		case state&clientFailed != 0:
			out.Failed++
		case state&clientOther != 0:
			out.Other++
		case state&clientMoved != 0:
			out.Moved++
		}
	}
	for _, n := range top {
		out.Busiest += n
	}
	out.First = c.first.Snapshot()
	return out
}

// Merge returns the sum of both. A client that came to both counts twice.
func (c ClientCounts) Merge(o ClientCounts) ClientCounts {
	return ClientCounts{
		c.Known + o.Known, c.Failed + o.Failed, c.Other + o.Other, c.Moved + o.Moved, c.Requests + o.Requests, c.Busiest + o.Busiest, c.First.Merge(o.First),
	}
}

// Since returns what was counted after an earlier time.
func (c ClientCounts) Since(o ClientCounts) ClientCounts {
	less := func(a, b uint64) uint64 { return a - min(a, b) }
	return ClientCounts{
		less(c.Known, o.Known), less(c.Failed, o.Failed), less(c.Other, o.Other), less(c.Moved, o.Moved),
		less(c.Requests, o.Requests), less(c.Busiest, o.Busiest), c.First.Since(o.First),
	}
}
