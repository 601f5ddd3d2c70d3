package overlay

import (
	"context"
	"fmt"
	"os"
	goruntime "runtime"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// Read calls f with the folder in which the files of a snapshot are, to be read. Only the calling thread of f sees them, in
// a mount namespace that ends with it: nothing stays mounted if the process is killed.
func Read(_ context.Context, mounts []mount.Mount, f func(root string) error) error {
	if len(mounts) != 1 {
		return fmt.Errorf("%d mounts instead of one", len(mounts))
	}
	m := mounts[0]
	if m.Type != Type {
		return f(m.Source) // the one layer's own folder
	}
	done := make(chan error)
	go func() {
		goruntime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		done <- readOnThread(m, f)
	}()
	return <-done
}

// readOnThread mounts layers in a namespace of this thread and calls f.
func readOnThread(m mount.Mount, f func(root string) error) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("part with the mounts of the machine: %w", err)
	}
	names, closeAll, err := open(Layers(m)) // they must be of this namespace
	if err != nil {
		return err
	}
	defer closeAll()
	if err := unix.Chdir("/proc/thread-self/fd"); err != nil {
		return fmt.Errorf("open the layers: %w", err)
	}
	o := parse(m.Options)
	data := strings.Join(append(o.data, "lowerdir="+strings.Join(names, ":")), ",")
	at := os.TempDir() // nobody else's is hidden by it
	if err := unix.Mount("overlay", at, "overlay", o.flags|unix.MS_RDONLY, data); err != nil {
		return fmt.Errorf("mount layers: %w", err)
	}
	return f(at)
}
