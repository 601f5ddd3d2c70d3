package overlay

import (
	"context"
	"errors"
	"os"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// Read mounts a snapshot for the time of a call of f, to be read.
func Read(ctx context.Context, mounts []mount.Mount, f func(root string) error) error {
	if len(mounts) != 1 || Fits(mounts[0]) {
		return mount.WithReadonlyTempMount(ctx, mounts, f)
	}
	at, err := os.MkdirTemp("", "layers")
	if err != nil {
		return err
	}
	err = Mount(mounts[0], at, Caller{})
	if err == nil {
		err = errors.Join(f(at), unix.Unmount(at, unix.MNT_DETACH))
	}
	return errors.Join(err, os.Remove(at))
}
