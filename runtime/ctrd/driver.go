package ctrd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/ctrd/helpers"
	"github.com/protoduction/micro/runtime/network"
)

// ShimMain runs the shim and reports true if this process was started as one. It has to be the first
// thing that main does, and main has to return when it reports true.
func ShimMain() bool { return helpers.Main() }

// DriverConfig is what a Driver needs beside its Engine.
type DriverConfig struct {
	Data    string // folder that helper programs carried by the binary are unpacked to, below it
	Network *network.Network
}

// Driver runs containers on an Engine. It is the runtime.Driver of real containers.
type Driver struct {
	e       *Engine
	log     *slog.Logger
	net     *network.Network
	helpers helpers.Paths
	boot    string // the kernel's ID of this boot

	hierarchies map[string]hierarchy // of cgroups, by controller

	images imageCache
	shims  *shims

	mu        sync.Mutex // guards the two maps
	instances map[string]*instance
	busy      map[string]bool // being started or removed: none of List's business

	// step is called between any two things that Start and Remove do; tests make it fail or kill the process.
	step func(name string) error
}

var _ runtime.Driver = (*Driver)(nil)

// NewDriver takes up the containers that still run, mends their network, and removes what an
// interrupted Start or Remove left behind.
func NewDriver(ctx context.Context, e *Engine, cfg DriverConfig) (*Driver, error) {
	d := &Driver{
		e: e, log: e.log, net: cfg.Network,
		instances: map[string]*instance{},
		busy:      map[string]bool{},
		step:      func(string) error { return nil },
	}
	var err error
	if d.helpers, err = helpers.Install(ctx, cfg.Data, filepath.Join(e.cfg.State, "bin")); err != nil {
		return nil, err
	}
	if d.shims, err = newShims(ctx, e, d.helpers.Shim); err != nil {
		return nil, err
	}
	if d.hierarchies, err = hierarchies(); err != nil {
		return nil, err
	}
	if err := d.cgroupOf("").prepare(); err != nil {
		return nil, err
	}
	if d.boot, err = bootID(); err != nil {
		return nil, err
	}
	if err := d.adopt(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// Run looks after the containers' network, and after shims, until ctx ends. A container whose network is
// lost is killed: whoever wants it finds that it has ended, and starts another one.
func (d *Driver) Run(ctx context.Context) error {
	var looking sync.WaitGroup
	defer looking.Wait()
	looking.Go(func() { d.endOrphans(ctx) })
	looking.Go(func() { d.shims.keepSpare(ctx) })
	return d.net.Run(ctx, d.lostNetwork)
}

// Destroy takes away what is left of the node on the host once its containers are removed: for good, not
// for a restart. The Engine is closed after it.
func (d *Driver) Destroy(context.Context) error {
	return errors.Join(killOrphans(d.e.cfg), d.net.Destroy(), cgroup{d.hierarchies, cgroupPath(d.e.cfg.State, "")}.remove())
}

func (d *Driver) lostNetwork(id string, cause error) {
	d.log.Error("container is killed, for its network is lost", "instance", id, "err", cause)
	d.mu.Lock()
	in := d.instances[id]
	d.mu.Unlock()
	if in == nil || in.task == nil {
		return
	}
	in.blame(fmt.Sprintf("its network was lost: %v", cause))
	ctx, cancel := context.WithTimeout(d.e.ctx(context.Background()), 10*time.Second)
	defer cancel()
	if err := in.task.Kill(ctx, 9); err != nil && !errdefs.IsNotFound(err) {
		d.log.Error("container can't be killed", "instance", id, "err", err)
	}
}

// Runc is the program that containers are started with, for others who start some.
func (d *Driver) Runc() string { return d.helpers.Runc }

// lookup finds a container by its ID.
func (d *Driver) lookup(id string) (*instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if in := d.instances[id]; in != nil {
		return in, nil
	}
	return nil, cloud.Errorf(cloud.NotFound, "container %q", id).WithHint("micro ps")
}

// running finds a container that has a process.
func (d *Driver) running(id string) (*instance, client.Task, error) {
	in, err := d.lookup(id)
	if err != nil {
		return nil, nil, err
	}
	if in.exited() != nil || in.task == nil {
		return nil, nil, cloud.Errorf(cloud.Unavailable, "container %q does not run any more", id).WithHint("micro ps")
	}
	return in, in.task, nil
}

// claim takes a container for Start or Remove; List leaves it alone until release.
func (d *Driver) claim(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[id] {
		return cloud.Errorf(cloud.Conflict, "container %q is being started or removed", id)
	}
	d.busy[id] = true
	return nil
}

func (d *Driver) release(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.busy, id)
}

// Wait returns when the container has ended.
func (d *Driver) Wait(ctx context.Context, id string) (runtime.Exit, error) {
	in, err := d.lookup(id)
	if err != nil {
		return runtime.Exit{}, err
	}
	select {
	case <-in.done:
		return *in.exited(), nil
	case <-ctx.Done():
		return runtime.Exit{}, ctx.Err()
	}
}

// Stop asks the container's first process to end. One that has ended takes no harm.
func (d *Driver) Stop(ctx context.Context, id string) error {
	in, err := d.lookup(id)
	if err != nil {
		return err
	}
	if in.exited() != nil || in.task == nil {
		return nil
	}
	err = in.task.Kill(d.e.ctx(ctx), in.stop)
	if err != nil && !errdefs.IsNotFound(err) && !errors.Is(err, errdefs.ErrFailedPrecondition) {
		return fmt.Errorf("signal %q to container %s: %w", in.stop, id, err)
	}
	return nil
}
