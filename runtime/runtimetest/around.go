package runtimetest

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Router drains instances at once, or when Busy returns.
type Router struct {
	*Fault
	Busy func(context.Context) error
}

// Drain takes an instance out of routing.
func (r *Router) Drain(ctx context.Context, id cloud.InstanceID) error {
	return r.Do("drain "+string(id), func() error {
		if r.Busy != nil {
			return r.Busy(ctx)
		}
		return nil
	})
}

// Logs records which instances are being read.
type Logs struct {
	mu   sync.Mutex
	open map[cloud.InstanceID]bool
}

// Open starts reading an instance.
func (l *Logs) Open(i *cloud.Instance) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[cloud.InstanceID]bool{}
	}
	l.open[i.ID] = true
	return "/log/" + string(i.ID), nil
}

// Copy does nothing: there is no output.
func (l *Logs) Copy(cloud.InstanceID) {}

// Done stops reading an instance.
func (l *Logs) Done(id cloud.InstanceID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, id)
}

// Sweep has nothing to remove.
func (l *Logs) Sweep() error { return nil }

// Len returns how many instances are being read.
func (l *Logs) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// Tail returns the last lines of a release.
func (l *Logs) Tail(cloud.ReleaseRef, int) []string { return []string{"last words"} }

// Memory stores crash counts in memory. It survives a crash of the process.
type Memory struct {
	*Fault
	mu      sync.Mutex
	crashes map[cloud.Slot]*cloud.Crashes
}

// Save stores c.
func (m *Memory) Save(_ context.Context, c *cloud.Crashes) error {
	return m.Do("save "+c.Slot.String(), func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.crashes == nil {
			m.crashes = map[cloud.Slot]*cloud.Crashes{}
		}
		m.crashes[c.Slot] = c
		return nil
	})
}

// Forget deletes the crash count of s.
func (m *Memory) Forget(_ context.Context, s cloud.Slot) error {
	return m.Do("forget "+s.String(), func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.crashes, s)
		return nil
	})
}

// Load returns all crash counts.
func (m *Memory) Load(context.Context) (all []*cloud.Crashes, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.crashes {
		all = append(all, c)
	}
	return all, nil
}

// Images has every image except those in Missing.
type Images struct {
	*Fault
	Missing map[string]bool
	Away    atomic.Bool // no other node has sent any image yet
}

// Get returns an image.
func (s *Images) Get(_ context.Context, digest string) (i runtime.Image, err error) {
	err = s.Do("image "+digest, func() error {
		if s.Missing[digest] {
			return cloud.Errorf(cloud.NotFound, "no image %s", digest)
		}
		if s.Away.Load() {
			return cloud.Errorf(cloud.Unavailable, "no other node has sent image %s", digest)
		}
		i = runtime.Image{Digest: digest, Ports: []int{8080}}
		return nil
	})
	return i, err
}
