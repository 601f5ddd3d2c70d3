package deploy

import (
	"context"
	"slices"
	"sync"

	"github.com/protoduction/micro/cloud"
)

// places bounds how much work is done at a time, in all and for each group, so that one group can't keep
// the others waiting.
type places struct {
	total, perGroup int

	mu      sync.Mutex
	taken   int
	groups  map[cloud.GroupName]int
	waiting []*waiter // in the order in which they came
}

// waiter waits for a place. admitted is closed when it has got one.
type waiter struct {
	group    cloud.GroupName
	admitted chan struct{}
}

func newPlaces(total, perGroup int) *places {
	return &places{total: total, perGroup: perGroup, groups: map[cloud.GroupName]int{}}
}

// take waits for a place for the group and returns the function that gives it back. It calls wait before it
// waits. An error is the cause of ctx's end.
func (p *places) take(ctx context.Context, group cloud.GroupName, wait func()) (giveBack func(), err error) {
	w := &waiter{group, make(chan struct{})}
	p.mu.Lock()
	p.waiting = append(p.waiting, w)
	p.admit()
	p.mu.Unlock()
	select {
	case <-w.admitted:
	default:
		wait()
		select {
		case <-w.admitted:
		case <-ctx.Done():
			p.leave(w)
			return nil, context.Cause(ctx)
		}
	}
	return sync.OnceFunc(func() { p.giveBack(group) }), nil
}

// leave gives up waiting, or the place that came at the same moment.
func (p *places) leave(w *waiter) {
	p.mu.Lock()
	i := slices.Index(p.waiting, w)
	if i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	p.mu.Unlock()
	if i < 0 {
		p.giveBack(w.group)
	}
}

func (p *places) giveBack(group cloud.GroupName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.groups[group]--; p.groups[group] == 0 {
		delete(p.groups, group)
	}
	p.admit()
}

// admit gives free places to those that wait: first to the group with the fewest places, and within a group
// to the one that came first. The lock is held.
func (p *places) admit() {
	for p.taken < p.total {
		best := -1
		for i, w := range p.waiting {
			n := p.groups[w.group]
			if n < p.perGroup && (best < 0 || n < p.groups[p.waiting[best].group]) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		w := p.waiting[best]
		p.waiting = slices.Delete(p.waiting, best, best+1)
		p.taken++
		p.groups[w.group]++
		close(w.admitted)
	}
}
