package ctrd

import (
	"context"
	"fmt"
)

// Written is how many bytes of disk the container's own layer takes.
func (d *Driver) Written(ctx context.Context, id string) (int64, error) {
	if _, err := d.lookup(id); err != nil {
		return 0, err
	}
	usage, err := d.e.client.SnapshotService(Snapshotter).Usage(d.e.ctx(ctx), id)
	if err != nil {
		return 0, fmt.Errorf("measure the files of container %s: %w", id, err)
	}
	return usage.Size, nil
}
