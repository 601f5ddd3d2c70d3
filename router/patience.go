package router

import (
	"fmt"
	"sync/atomic"
	"time"
)

// patience is how long to wait for the next part of a body.
type patience struct {
	stall time.Duration // without any part
	// A body that takes longer than total must arrive at the rate slowest or faster on average; 0 for no limit.
	total time.Duration
	begun int64 // on the router's clock
	// answered is true if the app has begun its answer while the body still arrives: then both are in a dialogue, and the body
	// may take any time. nil means never.
	answered *atomic.Bool
}

// slowest is how many bytes of a body must come in a second, on average, where it takes long.
const slowest = 100

// until returns how long to wait for more of a body of which in bytes have come.
func (p *patience) until(now, in int64) int64 {
	until := now + int64(p.stall)
	if p.total > 0 && (p.answered == nil || !p.answered.Load()) {
		until = min(until, p.due(in))
	}
	return until
}

func (p *patience) due(in int64) int64 {
	return p.begun + int64(p.total) + in*int64(time.Second)/slowest
}

// late is the fault of a client whose body did not come in time.
func (p *patience) late(now, in int64) fault {
	if p.total > 0 && now >= p.due(in) {
		return fault{408, codeBodyTimeout, fmt.Sprintf("The request's body takes longer than %v, and comes at less than %d bytes a second.", p.total, slowest), 0}
	}
	return fault{408, codeBodyTimeout, fmt.Sprintf("Nothing of the request's body has arrived for %v, which is as long as the router waits.", p.stall), 0}
}

// forBody returns the patience with a request's body.
func (l *limits) forBody(now int64, answered *atomic.Bool) patience {
	return patience{stall: l.idle, total: l.body, begun: now, answered: answered}
}
