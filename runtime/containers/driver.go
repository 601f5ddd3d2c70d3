package containers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/network"
)

// Config is what a Driver needs.
type Config struct {
	Engine  *engine.Engine
	Shims   *engine.Shims
	Network *network.Network
	Logger  *slog.Logger
}

// Driver runs containers on an Engine. It implements runtime.Driver.
type Driver struct {
	engine *engine.Engine
	shims  *engine.Shims
	log    *slog.Logger
	net    *network.Network
	boot   string // the kernel's ID of this boot

	hierarchies map[string]hierarchy // of cgroups, by controller

	images imageCache

	mu        sync.Mutex // guards the two maps
	instances map[string]*instance
	busy      map[string]bool // containers being started or removed, which List ignores

	// step is called between the steps of Start and Remove; tests make it fail or kill the process.
	step func(name string) error
}

var _ runtime.Driver = (*Driver)(nil)

// Open adopts the containers that still run, repairs their network, and removes the remains of an interrupted Start or
// Remove.
func Open(ctx context.Context, cfg Config) (*Driver, error) {
	d := &Driver{
		engine: cfg.Engine, shims: cfg.Shims, log: cfg.Logger, net: cfg.Network,
		instances: map[string]*instance{},
		busy:      map[string]bool{},
		step:      func(string) error { return nil },
	}
	if d.shims.Init() == "" {
		d.log.Warn("no micro-init in PATH: apps are process 1 of their containers and must reap orphans themselves", "hint", "make helpers")
	}
	var err error
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

// Run maintains the containers' network and the spare shim until ctx ends. It kills a container whose network can't be
// repaired: its worker then sees that it has ended, and another one is started.
func (d *Driver) Run(ctx context.Context) error {
	var shims sync.WaitGroup
	defer shims.Wait()
	shims.Go(func() { d.shims.Run(ctx) })
	return d.net.Run(ctx, d.lostNetwork)
}

// Destroy removes everything of the node that is left on the host after its containers are removed. Call it when the
// node is taken down, not for a restart, and before the Engine is closed.
func (d *Driver) Destroy(context.Context) error {
	return errors.Join(d.shims.Destroy(), d.net.Destroy(), cgroup{d.hierarchies, cgroupPath(d.engine.State(), "")}.remove())
}

func (d *Driver) lostNetwork(id string, cause error) {
	d.log.Error("killing a container whose network is lost", "instance", id, "err", cause)
	d.mu.Lock()
	in := d.instances[id]
	d.mu.Unlock()
	if in == nil || in.task == nil {
		return
	}
	in.blame(fmt.Sprintf("its network was lost: %v", cause))
	ctx, cancel := context.WithTimeout(d.engine.Context(context.Background()), 10*time.Second)
	defer cancel()
	if err := in.task.Kill(ctx, 9); err != nil && !errdefs.IsNotFound(err) {
		d.log.Error("cannot kill a container", "instance", id, "err", err)
	}
}

// lookup returns a container by its ID.
func (d *Driver) lookup(id string) (*instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if in := d.instances[id]; in != nil {
		return in, nil
	}
	return nil, cloud.Errorf(cloud.NotFound, "container %q", id).WithCommand("micro ps")
}

// running returns a container that has a process.
func (d *Driver) running(id string) (*instance, client.Task, error) {
	in, err := d.lookup(id)
	if err != nil {
		return nil, nil, err
	}
	if in.exited() != nil || in.task == nil {
		return nil, nil, cloud.Errorf(cloud.Unavailable, "container %q no longer runs", id).WithCommand("micro ps")
	}
	return in, in.task, nil
}

// claim reserves a container for Start or Remove; List ignores it until release.
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

// Stop asks the container's first process to end. It does nothing if the container has ended.
func (d *Driver) Stop(ctx context.Context, id string) error {
	in, err := d.lookup(id)
	if err != nil {
		return err
	}
	if in.exited() != nil || in.task == nil {
		return nil
	}
	awaitSignals(ctx, in.task.Pid(), in.stop)
	err = in.task.Kill(d.engine.Context(ctx), in.stop)
	if err != nil && !errdefs.IsNotFound(err) && !errors.Is(err, errdefs.ErrFailedPrecondition) {
		return fmt.Errorf("signal %q to container %s: %w", in.stop, id, err)
	}
	return nil
}
