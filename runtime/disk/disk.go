package disk

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// Size returns the bytes of the file system that dir is on.
func Size(dir string) (int64, error) {
	fs, err := stat(dir)
	return int64(fs.Blocks) * fs.Bsize, err
}

// Used returns what is in use of the file system that dir is on.
func Used(dir string) (Usage, error) {
	fs, err := stat(dir)
	return Usage{Bytes: int64(fs.Blocks-fs.Bfree) * fs.Bsize, Files: int64(fs.Files - fs.Ffree)}, err
}

// freeFiles is how many more files must fit on a disk, or a twentieth of what fits on a smaller one.
const freeFiles = 10_000

// Check returns a *cloud.Error of code Unavailable if the file system that dir is on has less than free
// bytes left, or hardly room for files.
func Check(dir string, free int64) error {
	fs, err := stat(dir)
	if err != nil {
		return err
	}
	if left := int64(fs.Bavail) * fs.Bsize; left < free {
		return cloud.Errorf(cloud.Unavailable, "the disk of %s is full: %d MiB are free, and %d MiB must stay so", dir, left>>20, free>>20).
			WithCommand("micro prune")
	}
	// A file system that makes inodes as it needs them says that it has none at all.
	if must := min(freeFiles, fs.Files/20); fs.Files > 0 && fs.Ffree < must {
		return cloud.Errorf(cloud.Unavailable, "the disk of %s is full: %d more files fit, and %d must", dir, fs.Ffree, must).
			WithCommand("micro prune")
	}
	return nil
}

func stat(dir string) (unix.Statfs_t, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fs, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return fs, nil
}

// every is how often a Guard looks: fast disks take some gigabytes a second.
const every = 250 * time.Millisecond

// Guard returns a context that ends, with Check's error as its cause, when Check fails.
func Guard(ctx context.Context, dir string, free int64) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if err := Check(dir, free); err != nil {
		cancel(err)
	}
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := Check(dir, free); err != nil {
					cancel(err)
				}
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}
