package containers

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/disk"
	"github.com/protoduction/micro/runtime/engine"
)

// blockSize is the unit of st_blocks (stat(2)).
const blockSize = 512

// Written returns the disk usage of the container's own layer and of its files in /etc that the node made.
func (d *Driver) Written(ctx context.Context, id string) (runtime.Usage, error) {
	u, err := d.written(d.engine.Context(ctx), id)
	if err != nil {
		return u, fmt.Errorf("measure the files of container %s: %w", id, err)
	}
	return u, nil
}

func (d *Driver) written(ctx context.Context, id string) (u runtime.Usage, err error) {
	if _, err := d.lookup(id); err != nil {
		return u, err
	}
	project, err := d.project(ctx, id)
	switch {
	case err != nil:
		return u, err
	case project != 0:
		counted, _, err := disk.ProjectUsage(d.engine.Snapshots(), project)
		if err != nil {
			return u, err
		}
		u = runtime.Usage(counted)
	default:
		usage, err := d.engine.Client().SnapshotService(engine.Snapshotter).Usage(ctx, id)
		if err != nil {
			return u, err
		}
		unlinked := d.unlinkedFiles(id)
		u = runtime.Usage{Bytes: usage.Size + unlinked.Bytes, Files: usage.Inodes + unlinked.Files}
	}
	files, err := os.ReadDir(d.etc(id))
	if ignoreMissing(err) != nil {
		return u, err
	}
	for _, f := range files {
		fi, err := f.Info()
		if err != nil {
			return u, err
		}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			u.Bytes += st.Blocks * blockSize
		}
	}
	return u, nil
}
