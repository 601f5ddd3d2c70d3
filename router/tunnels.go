package router

import (
	"sync"
	"time"
)

// tunnels are the WebSockets of an endpoint.
type tunnels struct {
	mu      sync.Mutex
	all     map[*pipes]*time.Timer // which says goodbye to it, nil before that is due
	leaving bool
}

func (t *tunnels) add(p *pipes) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[*pipes]*time.Timer{}
	}
	t.all[p] = nil
	if t.leaving {
		t.all[p] = time.AfterFunc(0, p.goAway)
	}
}

func (t *tunnels) remove(p *pipes) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if timer := t.all[p]; timer != nil {
		timer.Stop()
	}
	delete(t.all, p)
}

// goAway says goodbye to all, and to those that are still to come, one after the other within the time.
func (t *tunnels) goAway(within time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaving = true
	n, i := len(t.all), 0
	for p, timer := range t.all {
		if timer != nil && !timer.Stop() {
			continue // it has been said
		}
		t.all[p] = time.AfterFunc(within*time.Duration(i)/time.Duration(n), p.goAway)
		i++
	}
}
