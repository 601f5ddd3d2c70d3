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

// App is how a container behaves. The zero App listens at once on its port and runs until it is told to end.
type App struct {
	Boots    time.Duration // until it listens
	Deaf     bool          // never listens
	At       string        // where it listens instead, "127.0.0.1:3000"
	Exits    time.Duration // after its start; 0 is never, Now at once
	Code     int
	OOM      bool
	Stubborn bool          // ignores SIGTERM
	Starts   time.Duration // how long Start takes
	// Unwell and Unready make its liveness and readiness checks fail while they return true; nil is never.
	Unwell, Unready func() bool
}

// Now is as soon as can be.
const Now = time.Nanosecond

// Driver is a runtime.Driver in memory.
type Driver struct {
	*Fault
	// App says how a container behaves; nil is the zero App for all.
	App func(runtime.Container) App
	// KeepDiskLimits has LimitDisk report that limits hold.
	KeepDiskLimits bool

	mu    sync.Mutex
	boxes map[string]*box
	last  byte // of the addresses given out
	most  map[string]int

	shortage error
}

type box struct {
	runtime.Running
	made   runtime.Container
	app    App
	ended  chan struct{}
	timers []*time.Timer

	written runtime.Usage
	limit   runtime.Usage
}

// SetShortage makes every start and every check fail with an error of the machine's until it is set to nil.
func (d *Driver) SetShortage(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shortage = err
}

// NewDriver has no containers.
func NewDriver(f *Fault) *Driver {
	return &Driver{Fault: f, boxes: map[string]*box{}, most: map[string]int{}}
}

var _ runtime.Driver = (*Driver)(nil)

// Start begins a container.
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
	err = d.Do("start "+c.ID, func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.shortage != nil {
			return fmt.Errorf("make the container: %w", d.shortage)
		}
		if _, twice := d.boxes[c.ID]; twice {
			return fmt.Errorf("container %s is there already", c.ID)
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

// end lets a container end.
func (d *Driver) end(id string, e runtime.Exit) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b, ok := d.boxes[id]; ok && b.Exit == nil {
		e.At = time.Now()
		b.Exit = &e
		close(b.ended)
	}
}

// End lets a container end, as if by itself.
func (d *Driver) End(id string, e runtime.Exit) { d.end(id, e) }

// Reboot lets all containers be lost.
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

// Stop ends a container that is not stubborn.
func (d *Driver) Stop(_ context.Context, id string) error {
	return d.Do("stop "+id, func() error {
		b, err := d.get(id)
		if err == nil && !b.app.Stubborn {
			d.end(id, runtime.Exit{Code: 128 + int(syscall.SIGTERM)})
		}
		return err
	})
}

// Remove ends a container and forgets it.
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

// List has all containers.
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

// Exec runs nothing.
func (d *Driver) Exec(_ context.Context, id string, _ runtime.Command) (int, error) {
	_, err := d.get(id)
	return 0, err
}

// Stats knows nothing.
func (d *Driver) Stats(_ context.Context, id string) (runtime.Stats, error) {
	_, err := d.get(id)
	return runtime.Stats{}, err
}

// Written is what the test says of the container, by Write.
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

// Write has a container written so much.
func (d *Driver) Write(id string, u runtime.Usage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.boxes[id].written = u
}

// LimitDisk takes note of the limit, and keeps it where the test says so, by KeepDiskLimits.
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

// DiskUsed is what all containers have written.
func (d *Driver) DiskUsed(context.Context) (sum runtime.Usage, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.boxes {
		sum.Bytes += b.written.Bytes
		sum.Files += b.written.Files
	}
	return sum, nil
}

// DiskLimit is the limit that a container has by now.
func (d *Driver) DiskLimit(id string) runtime.Usage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.boxes[id].limit
}

// Listening is where the container listens by now.
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

// Ask is in the place of a health check.
func (d *Driver) Ask(_ context.Context, c cloud.Check, addr netip.AddrPort) error {
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
	return fmt.Errorf("nothing is at %s", addr)
}

// ReadinessPath is the path by which Ask knows a readiness check.
const ReadinessPath = "/ready"

// IDs are the containers there are, ended ones too.
func (d *Driver) IDs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.boxes))
}

// Running are the containers that have not ended, by ID.
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

// Most is how many containers of a shim ever ran at a time.
func (d *Driver) Most(shim string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.most[shim]
}
