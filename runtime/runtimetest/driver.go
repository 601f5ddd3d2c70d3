package runtimetest

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// App is how a container behaves. The zero App listens on its port at once and runs until it is stopped.
type App struct {
	Boots    time.Duration // time until it listens
	Deaf     bool          // never listens
	At       string        // another address on which it listens, "127.0.0.1:3000"
	Exits    time.Duration // time until it ends; 0 is never, Now is at once
	Code     int
	OOM      bool
	Stubborn bool          // ignores SIGTERM
	Starts   time.Duration // how long Start takes
	// Unwell and Unready make its liveness and readiness checks fail while they return true; nil means never.
	Unwell, Unready func() bool
}

// Now is the shortest duration.
const Now = time.Nanosecond

// Driver is a runtime.Driver in memory.
type Driver struct {
	*Fault
	// App returns how a container behaves; nil is the zero App for all.
	App func(runtime.Container) App
	// KeepDiskLimits makes LimitDisk report that limits are enforced.
	KeepDiskLimits bool

	mu    sync.Mutex
	boxes map[string]*box
	last  byte // last byte of the latest address
	most  map[string]int

	shortage error
}

type box struct {
	runtime.Running
	made   runtime.Container
	app    App
	paused bool
	ended  chan struct{}
	timers []*time.Timer

	written runtime.Usage
	limit   runtime.Usage
}

// SetShortage makes every start and every check fail with the error until it is set to nil.
func (d *Driver) SetShortage(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shortage = err
}

// NewDriver returns a driver without containers.
func NewDriver(f *Fault) *Driver {
	return &Driver{Fault: f, boxes: map[string]*box{}, most: map[string]int{}}
}

var _ runtime.Driver = (*Driver)(nil)

// Start starts a container.
func (d *Driver) Start(ctx context.Context, c runtime.Container) (r runtime.Running, err error) {
	app := App{}
	if d.App != nil {
		app = d.App(c)
	}
	if app.Starts > 0 {
		select {
		case <-time.After(app.Starts):
		case <-ctx.Done():
			return r, ctx.Err()
		}
	}
	if c.Await != nil {
		if err := c.Await(ctx); err != nil {
			return r, err
		}
	}
	err = d.Do("start "+c.ID, func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.shortage != nil {
			return fmt.Errorf("make the container: %w", d.shortage)
		}
		if _, twice := d.boxes[c.ID]; twice {
			return fmt.Errorf("container %s already exists", c.ID)
		}
		d.last++
		ip := netip.AddrFrom4([4]byte{10, 0, 0, d.last})
		b := &box{made: c, app: app, ended: make(chan struct{}), limit: c.Disk}
		b.Running = runtime.Running{ID: c.ID, Labels: c.Labels, IP: ip, PID: uint32(1000 + int(d.last)), Started: time.Now()}
		d.boxes[c.ID] = b
		if app.Exits > 0 {
			exit := runtime.Exit{Code: app.Code, OOM: app.OOM}
			if app.OOM {
				exit.Code = 137
			}
			b.timers = append(b.timers, time.AfterFunc(app.Exits, func() { d.end(c.ID, exit) }))
		}
		shim := 0
		for _, other := range d.boxes {
			if other.made.Shim == c.Shim && other.Exit == nil {
				shim++
			}
		}
		d.most[c.Shim] = max(d.most[c.Shim], shim)
		r = b.Running
		return nil
	})
	return r, err
}

// end ends a container.
func (d *Driver) end(id string, e runtime.Exit) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b, ok := d.boxes[id]; ok && b.Exit == nil {
		e.At = time.Now()
		b.Exit = &e
		close(b.ended)
	}
}

// End ends a container as if it had exited.
func (d *Driver) End(id string, e runtime.Exit) { d.end(id, e) }

// Reboot ends all containers as a reboot of the machine does.
func (d *Driver) Reboot() {
	for _, id := range d.IDs() {
		d.end(id, runtime.Exit{Code: 137, Lost: true, Reason: "its shim ended"})
	}
}

func (d *Driver) get(id string) (*box, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.boxes[id]
	if !ok {
		return nil, cloud.Errorf(cloud.NotFound, "no container %s", id)
	}
	return b, nil
}

// Wait returns when a container has ended.
func (d *Driver) Wait(ctx context.Context, id string) (runtime.Exit, error) {
	b, err := d.get(id)
	if err != nil {
		return runtime.Exit{}, err
	}
	select {
	case <-b.ended:
		return *b.Exit, nil
	case <-ctx.Done():
		return runtime.Exit{}, ctx.Err()
	}
}

// Stop ends a container unless it is stubborn.
func (d *Driver) Stop(_ context.Context, id string) error {
	return d.Do("stop "+id, func() error {
		b, err := d.get(id)
		if err == nil && !b.app.Stubborn {
			d.end(id, runtime.Exit{Code: 128 + int(syscall.SIGTERM)})
		}
		return err
	})
}

// Remove ends and deletes a container.
func (d *Driver) Remove(_ context.Context, id string) error {
	return d.Do("remove "+id, func() error {
		d.end(id, runtime.Exit{Code: 137})
		d.mu.Lock()
		defer d.mu.Unlock()
		if b, ok := d.boxes[id]; ok {
			for _, t := range b.timers {
				t.Stop()
			}
		}
		delete(d.boxes, id)
		return nil
	})
}

// Pause marks a container as paused.
func (d *Driver) Pause(_ context.Context, id string) error { return d.pause("pause "+id, id, true) }

// Resume ends a pause.
func (d *Driver) Resume(_ context.Context, id string) error { return d.pause("resume "+id, id, false) }

func (d *Driver) pause(step, id string, paused bool) error {
	return d.Do(step, func() error {
		b, err := d.get(id)
		if err == nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			b.paused = paused
		}
		return err
	})
}

// Paused returns the IDs of the containers that are paused.
func (d *Driver) Paused() (ids []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(d.boxes)) {
		if d.boxes[id].paused {
			ids = append(ids, id)
		}
	}
	return ids
}

// List returns all containers.
func (d *Driver) List(_ context.Context) (all []runtime.Running, err error) {
	err = d.Do("list", func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, id := range slices.Sorted(maps.Keys(d.boxes)) {
			all = append(all, d.boxes[id].Running)
		}
		return nil
	})
	return all, err
}

// Exec does nothing.
func (d *Driver) Exec(_ context.Context, id string, _ runtime.Command) (int, error) {
	_, err := d.get(id)
	return 0, err
}

// Stats returns no statistics.
func (d *Driver) Stats(_ context.Context, id string) (runtime.Stats, error) {
	_, err := d.get(id)
	return runtime.Stats{}, err
}

// Written returns the usage that the test has set with Write.
func (d *Driver) Written(_ context.Context, id string) (written runtime.Usage, err error) {
	err = d.Do("written "+id, func() error {
		b, err := d.get(id)
		if err == nil {
			written = b.written
		}
		return err
	})
	return written, err
}

// Write sets the disk usage of a container.
func (d *Driver) Write(id string, u runtime.Usage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.boxes[id].written = u
}

// LimitDisk records the limit, and reports KeepDiskLimits.
func (d *Driver) LimitDisk(_ context.Context, id string, limit runtime.Usage) (kept bool, err error) {
	err = d.Do("limit disk "+id, func() error {
		b, err := d.get(id)
		if err == nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			b.limit = limit
		}
		return err
	})
	return d.KeepDiskLimits, err
}

// DiskUsed returns the disk usage of all containers.
func (d *Driver) DiskUsed(context.Context) (sum runtime.Usage, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.boxes {
		sum.Bytes += b.written.Bytes
		sum.Files += b.written.Files
	}
	return sum, nil
}

// DiskLimit returns the current limit of a container.
func (d *Driver) DiskLimit(id string) runtime.Usage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.boxes[id].limit
}

// Listening returns the addresses on which the container listens now.
func (d *Driver) Listening(_ context.Context, id string) ([]runtime.Listener, error) {
	b, err := d.get(id)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !b.up() {
		return nil, nil
	}
	if b.app.At != "" {
		return []runtime.Listener{netip.MustParseAddrPort(b.app.At)}, nil
	}
	return []runtime.Listener{netip.AddrPortFrom(netip.IPv4Unspecified(), 8080)}, nil
}

func (b *box) up() bool {
	return b.Exit == nil && !b.app.Deaf && time.Since(b.Started) >= b.app.Boots
}

// Ask replaces the health checks of real containers.
func (d *Driver) Ask(_ context.Context, _ cloud.Protocol, c cloud.Check, addr netip.AddrPort) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shortage != nil && c.Type != cloud.CheckProcess {
		return fmt.Errorf("dial: %w", d.shortage)
	}
	for _, b := range d.boxes {
		if b.IP != addr.Addr() {
			continue
		}
		failing := b.app.Unwell
		if c.Path == ReadinessPath {
			failing = b.app.Unready
		}
		switch {
		case c.Type == cloud.CheckProcess:
			return nil
		case !b.up() || b.app.At != "":
			return fmt.Errorf("does not answer on port %d", addr.Port())
		case failing != nil && failing():
			return fmt.Errorf("GET %s on port %d answered 503", c.Path, addr.Port())
		}
		return nil
	}
	return fmt.Errorf("no container has the address %s", addr)
}

// ReadinessPath is the path by which Ask recognises a readiness check.
const ReadinessPath = "/ready"

// IDs returns the IDs of all containers, also ended ones.
func (d *Driver) IDs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.boxes))
}

// Running returns the containers that have not ended, by ID.
func (d *Driver) Running() map[string]runtime.Container {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]runtime.Container{}
	for id, b := range d.boxes {
		if b.Exit == nil {
			all[id] = b.made
		}
	}
	return all
}

// Most returns the highest number of containers of a shim that ran at the same time.
func (d *Driver) Most(shim string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.most[shim]
}
