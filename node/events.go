package node

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// maxEvents is how many events a node remembers; the audit log has what people did for longer.
const maxEvents = 5000

// eventLog is what happened in the cloud lately, as far as it shows in the snapshots.
type eventLog struct {
	life string // of cursors: those of an earlier process mean nothing

	mu      sync.Mutex
	first   int // number of events[0]
	events  []api.Event
	changed chan struct{}
}

func newEventLog(started time.Time) *eventLog {
	return &eventLog{life: strconv.FormatInt(started.UnixNano(), 36), changed: make(chan struct{})}
}

// run notes what changes in the snapshots until ctx ends.
func (l *eventLog) run(ctx context.Context, cell *cloud.Cell) error {
	old := cell.View()
	for {
		view, err := cell.Changed(ctx, old)
		if err != nil {
			return nil
		}
		l.add(compare(old, view, time.Now().UTC()))
		old = view
	}
}

func (l *eventLog) add(events []api.Event) {
	if len(events) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, events...)
	if extra := len(l.events) - maxEvents; extra > 0 {
		l.events, l.first = append([]api.Event(nil), l.events[extra:]...), l.first+extra
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// Read implements the API's handler.Events.
func (l *eventLog) Read(ctx context.Context, q api.EventQuery) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		next := l.behind(q.After)
		tail := q.Tail
		for {
			events, from, changed := l.since(next)
			next = from + len(events)
			var chosen []api.Event
			for i, e := range events {
				if (q.Group == "" || e.Group == q.Group) && (q.App == "" || e.App == q.App) && !e.Time.Before(q.Since) {
					e.Cursor = l.life + ":" + strconv.Itoa(from+i)
					chosen = append(chosen, e)
				}
			}
			if tail >= 0 {
				chosen = chosen[max(0, len(chosen)-tail):]
				tail = -1 // what comes from now on is new
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

// behind is the number of the first event behind a cursor; 0 where that is of another process.
func (l *eventLog) behind(after string) int {
	life, number, ok := strings.Cut(after, ":")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || life != l.life {
		return 0
	}
	return n + 1
}

func (l *eventLog) since(n int) (events []api.Event, from int, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from = max(n, l.first)
	if from-l.first < len(l.events) {
		events = l.events[from-l.first:]
	}
	return events, from, l.changed
}

// compare says in events what differs between two views.
func compare(old, now cloud.View, at time.Time) (events []api.Event) {
	apps, hosts, ok := now.Touched(old)
	if !ok {
		return nil
	}
	for app := range apps {
		events = append(events, compareApp(old, now, app, at)...)
	}
	for host := range hosts {
		before, was := old.State.VirtualHost(host)
		after, is := now.State.VirtualHost(host)
		e := api.Event{Time: at, Object: string(host)}
		switch {
		case is && !was:
			e.Group, e.Kind, e.Text = after.Group, "host.mapped", fmt.Sprintf("%s is %s", host, after.Exposure)
		case was && !is:
			e.Group, e.Kind, e.Text = before.Group, "host.released", fmt.Sprintf("%s is given up", host)
		case was && is && before != after:
			e.Group, e.Kind, e.Text = after.Group, "host.changed", fmt.Sprintf("%s leads elsewhere", host)
		default:
			continue
		}
		events = append(events, e)
	}
	return events
}

func compareApp(old, now cloud.View, ref cloud.AppRef, at time.Time) (events []api.Event) {
	add := func(release int, kind, object, by, text string) {
		events = append(events, api.Event{Time: at, Group: ref.Group, App: ref.App, Release: release, Kind: kind, Object: object, By: by, Text: text})
	}
	before, was := old.State.App(ref)
	after, is := now.State.App(ref)
	switch {
	case was && !is:
		add(0, "app.deleted", ref.String(), "", fmt.Sprintf("app %s is deleted", ref))
	case is && !was:
		add(0, "app.created", ref.String(), "", fmt.Sprintf("app %s is new", ref))
	}
	for rel := range now.State.Releases(ref) {
		prev, existed := old.State.Release(rel.ReleaseRef)
		switch {
		case !existed:
			add(rel.N, "release.created", rel.ReleaseRef.String(), rel.By, fmt.Sprintf("%s made by %s", rel.ReleaseRef, rel.Cause))
		case prev.Failure == nil && rel.Failure != nil:
			add(rel.N, "release.failed", rel.ReleaseRef.String(), "", rel.Failure.Reason)
		case !prev.Stopped && rel.Stopped:
			add(rel.N, "release.stopped", rel.ReleaseRef.String(), "", fmt.Sprintf("%s is stopped", rel.ReleaseRef))
		case !prev.Up && rel.Up:
			add(rel.N, "release.up", rel.ReleaseRef.String(), "", fmt.Sprintf("%s is up", rel.ReleaseRef))
		}
	}
	if is && after.Current != 0 && (!was || before.Current != after.Current) {
		add(after.Current, "release.current", ref.Release(after.Current).String(), "", fmt.Sprintf("%s is current", ref.Release(after.Current)))
	}
	for i := range now.Instances.OfApp(ref) {
		prev, existed := old.Instances.Get(i.ID)
		if existed && prev.Phase == i.Phase {
			continue
		}
		text := fmt.Sprintf("%s is %s", i.Slot, i.Phase)
		if i.Reason != "" {
			text += ": " + i.Reason
		}
		add(i.N, "instance."+string(i.Phase), i.Slot.String(), "", text)
	}
	for i := range old.Instances.OfApp(ref) {
		if _, still := now.Instances.Get(i.ID); !still {
			text := fmt.Sprintf("%s is gone", i.Slot)
			if i.Phase == cloud.InstanceStopping && i.Exit == nil && i.Reason != "" {
				text += ": it " + i.Reason
			}
			add(i.N, "instance.gone", i.Slot.String(), "", text)
		}
	}
	return events
}
