package events

import (
	"context"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// limit is how many events a node keeps. The audit log has the actions of users for longer.
const limit = 5000

// Buffer keeps the latest events.
type Buffer struct {
	process string // part of cursors, to recognise those of an earlier process

	mu      sync.Mutex
	first   int // number of events[0]
	events  []api.Event
	changed chan struct{}
}

// New returns an empty buffer for a node that started at the given time.
func New(started time.Time) *Buffer {
	return &Buffer{process: strconv.FormatInt(started.UnixNano(), 36), changed: make(chan struct{})}
}

// Follow adds events for the changes of the cell's view until ctx ends.
func (l *Buffer) Follow(ctx context.Context, cell *cloud.Cell) error {
	old := cell.View()
	for {
		view, err := cell.Changed(ctx, old)
		if err != nil {
			return nil
		}
		l.Add(compare(old, view, time.Now().UTC())...)
		old = view
	}
}

// Add adds events in order of time.
func (l *Buffer) Add(events ...api.Event) {
	if len(events) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, events...)
	if extra := len(l.events) - limit; extra > 0 {
		l.events, l.first = append([]api.Event(nil), l.events[extra:]...), l.first+extra
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// Read implements the API's handler.Events.
func (l *Buffer) Read(ctx context.Context, q api.EventQuery) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		next := l.indexAfter(q.After)
		tail := q.Tail
		for {
			events, from, changed := l.since(next)
			next = from + len(events)
			var chosen []api.Event
			for i, e := range events {
				if (q.Group == "" || e.Group == q.Group) && (q.App == "" || e.App == q.App) && !e.Time.Before(q.Since) {
					e.Cursor = l.process + ":" + strconv.Itoa(from+i)
					chosen = append(chosen, e)
				}
			}
			if tail >= 0 {
				chosen = chosen[max(0, len(chosen)-tail):]
				tail = -1 // later events are all new
			}
			for _, e := range chosen {
				if !yield(e, nil) {
					return
				}
			}
			if !q.Follow {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// indexAfter returns the number of the first event after a cursor; 0 for a cursor of another process.
func (l *Buffer) indexAfter(after string) int {
	life, number, ok := strings.Cut(after, ":")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || life != l.process {
		return 0
	}
	return n + 1
}

func (l *Buffer) since(n int) (events []api.Event, from int, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from = max(n, l.first)
	if from-l.first < len(l.events) {
		events = l.events[from-l.first:]
	}
	return events, from, l.changed
}
