package containers

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/protoduction/micro/cloud"
)

// Pause stops the time of all processes in a container, by the kernel's freezer of its cgroup.
func (d *Driver) Pause(ctx context.Context, id string) error {
	in, task, err := d.running(id)
	if err != nil {
		return err
	}
	if err := task.Pause(d.engine.Context(ctx)); err != nil {
		if in.exited() != nil || errdefs.IsNotFound(err) {
			return cloud.Errorf(cloud.Unavailable, "container %q no longer runs", id)
		}
		return fmt.Errorf("pause container %s: %w", id, err)
	}
	return nil
}

// Resume lets a paused container run on. It does nothing if the container is not paused.
func (d *Driver) Resume(ctx context.Context, id string) error {
	_, task, err := d.running(id)
	if err != nil {
		return err
	}
	if err := task.Resume(d.engine.Context(ctx)); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsFailedPrecondition(err) {
		return fmt.Errorf("let container %s run again: %w", id, err)
	}
	return nil
}
