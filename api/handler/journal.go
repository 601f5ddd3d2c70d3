package handler

import (
	"context"
	"sync"

	"github.com/protoduction/micro/api"
)

const (
	// maxJournal bounds what a push remembers of its events while it is under way, in bytes of JSON.
	maxJournal = 2 << 20
	// endedJournal bounds it afterwards: whoever comes back late needs the end, not the beginning.
	endedJournal = 256 << 10
)

// journal holds the events of a push, so that a reader can come back and go on where it left off. The
// oldest go where they are too many.
type journal struct {
	mu     sync.Mutex
	events []api.PushEvent
	sizes  []int
	size   int
	next   int // number of the event to come
	ended  bool
	grown  chan struct{} // closed, and made anew, with every event
}

func newJournal() *journal { return &journal{next: 1, grown: make(chan struct{})} }

// add appends an event; after the last one, which end marks, no more are taken.
func (j *journal) add(e api.PushEvent, end bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended {
		return
	}
	e.Seq = j.next
	j.next++
	n := e.Size()
	j.events, j.sizes, j.size = append(j.events, e), append(j.sizes, n), j.size+n
	limit := maxJournal
	if end {
		j.ended = true
		limit = endedJournal
	}
	drop := 0
	// A quarter at a time: what is left has to be copied.
	for over := j.size > limit; over && j.size > limit*3/4 && drop < len(j.events)-1; {
		j.size -= j.sizes[drop]
		drop++
	}
	if drop > 0 {
		// Copies: what is dropped must not be held by the array.
		j.events = append([]api.PushEvent(nil), j.events[drop:]...)
		j.sizes = append([]int(nil), j.sizes[drop:]...)
	}
	close(j.grown)
	j.grown = make(chan struct{})
}

// count is how many events there have been.
func (j *journal) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.next - 1
}

// since returns the events from number from on that are still there, whether they are the last ones, and
// a channel that closes when there are more.
func (j *journal) since(from int) (events []api.PushEvent, ended bool, grown <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := j.next - len(j.events)
	if i := from - first; i < len(j.events) {
		events = j.events[max(0, i):len(j.events):len(j.events)]
	}
	return events, j.ended, j.grown
}

// read yields the events from number from on, until the last one.
func (j *journal) read(ctx context.Context, from int, yield func(api.PushEvent, error) bool) {
	for {
		events, ended, grown := j.since(from)
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
