package containers

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"github.com/protoduction/micro/runtime/engine"
)

// blockSize is the unit of st_blocks (stat(2)).
const blockSize = 512

// Written is how many bytes of disk the container's own layer takes, and its files of /etc that the
// node gave it.
func (d *Driver) Written(ctx context.Context, id string) (int64, error) {
	if _, err := d.lookup(id); err != nil {
		return 0, err
	}
	usage, err := d.engine.Client().SnapshotService(engine.Snapshotter).Usage(d.engine.Context(ctx), id)
	if err != nil {
		return 0, fmt.Errorf("measure the files of container %s: %w", id, err)
	}
	files, err := os.ReadDir(d.etc(id))
	if missing(err) != nil {
		return 0, fmt.Errorf("measure the files of container %s: %w", id, err)
	}
	for _, f := range files {
		fi, err := f.Info()
		if err != nil {
			return 0, fmt.Errorf("measure the files of container %s: %w", id, err)
		}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			usage.Size += st.Blocks * blockSize
		}
	}
	return usage.Size, nil
}
