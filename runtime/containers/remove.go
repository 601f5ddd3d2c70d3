package containers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/protoduction/micro/runtime/disk"
	"github.com/protoduction/micro/runtime/engine"
)

// Remove ends what still runs and takes away all that Start made.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := d.claim(id); err != nil {
		return err
	}
	defer d.release(id)
	return d.remove(d.engine.Context(ctx), id)
}

// rollBack removes what a failed Start made, also when its caller has given up.
func (d *Driver) rollBack(ctx context.Context, id string) error {
	ctx, cancel := d.detached(ctx)
	defer cancel()
	return d.remove(ctx, id)
}

// remove goes on after a fault: what can go, goes. The record is the last to go, and stays if anything
// else did, so that List finds it and tries again.
func (d *Driver) remove(ctx context.Context, id string) error {
	// From here on it is a container that is not wholly there.
	err := missing(os.Remove(filepath.Join(d.folder(id), startedFile)))
	process := d.leaveShim(id)
	for _, part := range []struct {
		name string
		take func() error
	}{
		{"task", func() error { return d.removeTask(ctx, id) }},
		{"cgroup", func() error { return d.cgroupOf(id).remove() }},
		{"network", func() error { return d.net.Detach(id) }},
		{"snapshot", func() error { return d.removeSnapshot(ctx, id) }},
		{"files", func() error {
			// runc's own note of it stays where the shim was gone before runc was through.
			runc := filepath.Join(d.engine.State(), "runc", d.engine.Namespace(), id)
			return errors.Join(os.RemoveAll(runc), os.RemoveAll(d.folder(id)), os.RemoveAll(d.etc(id)))
		}},
	} {
		if e := part.take(); e != nil {
			err = errors.Join(err, fmt.Errorf("its %s: %w", part.name, e))
		}
		err = errors.Join(err, d.step("remove "+part.name))
	}
	if process != nil && err == nil {
		err = d.shims.End(process)
	}
	if err == nil {
		err = missing(d.engine.Client().ContainerService().Delete(ctx, id))
	}
	if err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.instances, id)
	return nil
}

// removeSnapshot takes a container's own files away, and the limit on them.
func (d *Driver) removeSnapshot(ctx context.Context, id string) error {
	project, err := d.project(ctx, id)
	if err != nil {
		return err
	}
	if err := missing(d.engine.Client().SnapshotService(engine.Snapshotter).Remove(ctx, id)); err != nil || project == 0 {
		return err
	}
	return disk.SetLimit(d.engine.Snapshots(), project, disk.Usage{})
}

// leaveShim takes a container out of its shim, and returns the shim if that was to end with it.
func (d *Driver) leaveShim(id string) *engine.Shim {
	d.mu.Lock()
	defer d.mu.Unlock()
	in := d.instances[id]
	if in == nil || in.shim == nil {
		return nil
	}
	process := in.shim
	in.shim = nil
	if !d.shims.Leave(process) {
		return nil
	}
	return process
}

func (d *Driver) removeTask(ctx context.Context, id string) error {
	ctr, err := d.engine.Client().LoadContainer(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	task, err := ctr.Task(ctx, nil)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := task.Delete(ctx, client.WithProcessKill); missing(err) != nil {
		return err
	}
	// Who waits for it gets to know its end, and that is written down, before its files go.
	if in, err := d.lookup(id); err == nil && in.task != nil {
		if in.streams != nil {
			in.streams.leave()
		}
		select {
		case <-in.done:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(patience):
		}
	}
	return nil
}

// missing takes "it is not there" for success.
func missing(err error) error {
	if errdefs.IsNotFound(err) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
