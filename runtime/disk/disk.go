package disk

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// Size returns the size of dir's file system in bytes.
func Size(dir string) (int64, error) {
	fs, err := stat(dir)
	return int64(fs.Blocks) * fs.Bsize, err
}

// Used returns the usage of dir's file system.
func Used(dir string) (Usage, error) {
	fs, err := stat(dir)
	return Usage{Bytes: int64(fs.Blocks-fs.Bfree) * fs.Bsize, Files: int64(fs.Files - fs.Ffree)}, err
}

// freeFiles is how many more files a disk must have room for; on a small disk, a twentieth of its maximum.
const freeFiles = 10_000

// Check returns a *cloud.Error of code Unavailable if dir's file system has less than free bytes left, or almost no
// inodes.
func Check(dir string, free int64) error {
	fs, err := stat(dir)
	if err != nil {
		return err
	}
	if left := int64(fs.Bavail) * fs.Bsize; left < free {
		return cloud.Errorf(cloud.Unavailable, "the disk of %s is full: %d MiB are free, but %d MiB must stay free", dir, left>>20, free>>20).
			WithCommand("micro prune")
	}
	// A file system that makes inodes as needed reports 0 inodes.
	if must := min(freeFiles, fs.Files/20); fs.Files > 0 && fs.Ffree < must {
		return cloud.Errorf(cloud.Unavailable, "the disk of %s is full: it has room for %d more files, but needs room for %d", dir, fs.Ffree, must).
			WithCommand("micro prune")
	}
	return nil
}

func stat(dir string) (unix.Statfs_t, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fs, fmt.Errorf("inspect the disk of %s: %w", dir, err)
	}
	return fs, nil
}

// checkEvery is how often the watcher checks the disk. It is short, because fast disks write gigabytes per second.
const checkEvery = 250 * time.Millisecond

// CancelWhenFull returns a context that is cancelled, with Check's error as its cause, when Check fails.
func CancelWhenFull(ctx context.Context, dir string, free int64) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if err := Check(dir, free); err != nil {
		cancel(err)
	}
	go func() {
		tick := time.NewTicker(checkEvery)
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
