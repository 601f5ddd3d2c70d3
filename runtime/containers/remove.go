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

// Remove kills the container if it still runs, and removes everything that Start made.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := d.claim(id); err != nil {
		return err
	}
	defer d.release(id)
	return d.remove(d.engine.Context(ctx), id)
}

// rollBack removes everything that a failed Start made, also if its context has ended.
func (d *Driver) rollBack(ctx context.Context, id string) error {
	ctx, cancel := d.detached(ctx)
	defer cancel()
	return d.remove(ctx, id)
}

// remove continues after errors and removes as much as it can. It removes the record last, and keeps it if anything else
// could not be removed, so that List finds the container and tries again.
func (d *Driver) remove(ctx context.Context, id string) error {
	// From here on the container counts as incomplete.
	err := ignoreMissing(os.Remove(filepath.Join(d.folder(id), startedFile)))
	for _, part := range []struct {
		name string
		take func() error
	}{
		{"task", func() error { return d.removeTask(ctx, id) }},
		{"cgroup", func() error { return d.cgroupOf(id).remove() }},
		{"network", func() error { return d.net.Detach(id) }},
		{"snapshot", func() error { return d.removeSnapshot(ctx, id) }},
		{"files", func() error {
			return errors.Join(d.hideBindings(id), d.removeState(id), os.RemoveAll(d.folder(id)), os.RemoveAll(d.etc(id)))
		}},
	} {
		if e := part.take(); e != nil {
			err = errors.Join(err, fmt.Errorf("its %s: %w", part.name, e))
		}
		err = errors.Join(err, d.step("remove "+part.name))
	}
	if err == nil {
		// Not sooner: who leaves last ends the shim, and it must not be asked to delete a task then.
		if process := d.leaveShim(id); process != nil {
			err = d.shims.End(process)
		}
	}
	if err == nil {
		err = ignoreMissing(d.engine.Client().ContainerService().Delete(ctx, id))
	}
	if err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.instances, id)
	return nil
}

// removeState removes runc's own state of a container, which remains if the shim ended before runc had finished.
func (d *Driver) removeState(id string) error {
	return os.RemoveAll(filepath.Join(d.engine.State(), "runc", d.engine.Namespace(), id))
}

// removeStarted removes what a shim that has ended leaves of a container that it was starting: runc ends with it, but for a
// moment not the process that runc has put into the cgroup.
func (d *Driver) removeStarted(id string) error {
	return errors.Join(d.cgroupOf(id).remove(), d.removeState(id))
}

// removeSnapshot removes a container's own files and their limit.
func (d *Driver) removeSnapshot(ctx context.Context, id string) error {
	project, err := d.project(ctx, id)
	if err != nil {
		return err
	}
	if err := ignoreMissing(d.engine.Client().SnapshotService(engine.Snapshotter).Remove(ctx, id)); err != nil || project == 0 {
		return err
	}
	return disk.SetLimit(d.engine.Snapshots(), project, disk.Usage{})
}

// leaveShim removes a container from its shim, and returns the shim if it has no other containers and must end.
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
	if _, err := task.Delete(ctx, client.WithProcessKill); ignoreMissing(err) != nil {
		return err
	}
	// Deliver and record the exit before the files are removed.
	if in, err := d.lookup(id); err == nil && in.task != nil {
		if in.streams != nil {
			in.streams.leave()
		}
		select {
		case <-in.done:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(killTimeout):
		}
	}
	return nil
}

// ignoreMissing returns nil if the error means that an object does not exist, otherwise the error.
func ignoreMissing(err error) error {
	if errdefs.IsNotFound(err) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
