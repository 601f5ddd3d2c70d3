package deploy

import (
	"context"
	"slices"
	"sync"

	"github.com/protoduction/micro/api"
)

const (
	// maxEvents bounds the events that a push keeps while it is under way, in bytes of JSON.
	maxEvents = 2 << 20
	// maxEndedEvents bounds them afterwards: a reader that comes back late needs the end, not the beginning.
	maxEndedEvents = 256 << 10
)

// eventBuffer holds the latest events of a push, so that a reader can come back and go on where it left
// off. The oldest events go when the buffer is full.
type eventBuffer struct {
	mu     sync.Mutex
	events []api.PushEvent
	sizes  []int
	size   int
	next   int // number of the next event
	ended  bool
	grown  chan struct{} // closed, and made anew, with every event
}

func newEventBuffer() *eventBuffer { return &eventBuffer{next: 1, grown: make(chan struct{})} }

// add appends an event, unless the last one has been added.
func (b *eventBuffer) add(e api.PushEvent) { b.append(e, false) }

// finish appends the last event.
func (b *eventBuffer) finish(e api.PushEvent) { b.append(e, true) }

func (b *eventBuffer) append(e api.PushEvent, last bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	e.Seq = b.next
	b.next++
	n := e.Size()
	b.events, b.sizes, b.size = append(b.events, e), append(b.sizes, n), b.size+n
	limit := maxEvents
	if last {
		b.ended = true
		limit = maxEndedEvents
	}
	drop := 0
	// A quarter of the buffer goes at a time, because what stays has to be copied.
	for full := b.size > limit; full && b.size > limit*3/4 && drop < len(b.events)-1; {
		b.size -= b.sizes[drop]
		drop++
	}
	if drop > 0 {
		// Copies, so that the dropped events do not stay in memory with the array.
		b.events = slices.Clone(b.events[drop:])
		b.sizes = slices.Clone(b.sizes[drop:])
	}
	close(b.grown)
	b.grown = make(chan struct{})
}

// count returns how many events there have been.
func (b *eventBuffer) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next - 1
}

// since returns the kept events whose number is at least from, whether the last event is among the kept
// ones, and a channel that is closed when the next event comes.
func (b *eventBuffer) since(from int) (events []api.PushEvent, ended bool, grown <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := b.next - len(b.events)
	if i := from - first; i < len(b.events) {
		events = b.events[max(0, i):len(b.events):len(b.events)]
	}
	return events, b.ended, b.grown
}

// read yields the events whose number is at least from, until the last one.
func (b *eventBuffer) read(ctx context.Context, from int, yield func(api.PushEvent, error) bool) {
	for {
		events, ended, grown := b.since(from)
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
			from = e.Seq + 1
		}
		if ended {
			return
		}
		select {
		case <-grown:
		case <-ctx.Done():
			yield(api.PushEvent{}, context.Cause(ctx))
			return
		}
	}
}
