package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// temporary is the folder of State in which shims mount for a moment what a container is put together
// from: the layers on the disk, whole.
const temporary = "m"

// maxState keeps the sockets of shims, State + "/s/" + 64 digits, within what containerd grants them.
const maxState = 40

// StateDir is where a node with this data folder keeps its state: short however long the data folder's
// path is, and another one for every data folder.
func StateDir(data string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(data)))
	return "/run/micro/" + hex.EncodeToString(sum[:5])
}

// PrepareState makes the folder and sees to it that it is in memory: bundles, sockets and namespaces
// are worth nothing after a reboot, and on a disk every start of a container would wait for it.
// It is 0711, not 0700, for what is under it is looked up from inside user namespaces. Open does this
// too; whoever keeps things in the folder before that calls it first.
func PrepareState(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("state folder: statfs %s: %w", dir, err)
	}
	if fs.Type == unix.TMPFS_MAGIC {
		return nil
	}
	err := unix.Mount("micro", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711,size=25%")
	if err != nil {
		return fmt.Errorf("state folder: mount a tmpfs on %s: %w", dir, err)
	}
	return nil
}

// RemoveState undoes PrepareState, mounts that are left in it included. Nothing may run in it any more.
func RemoveState(dir string) error {
	if err := unmountIn(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// unmountIn takes away what is mounted on a folder and in it. It fails where something stays: who then
// removes the folder would remove what is behind the mount.
func unmountIn(dir string) error {
	err := mount.UnmountRecursive(dir, unix.MNT_DETACH)
	left, lookErr := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%s is still mounted", left[0].Mountpoint)
	}
	if err := errors.Join(err, lookErr); err != nil {
		return fmt.Errorf("unmount what is in %s: %w", dir, err)
	}
	return nil
}

// clearTemporary takes away what shims have left mounted although they, and the node, are gone. One that
// lives and mounts something just now does so for a node that is gone, and its container is taken down.
func clearTemporary(state string) error {
	all, err := temporaries(state)
	_, sweepErr := sweepTemporary(state, all)
	return errors.Join(err, sweepErr)
}

// sweepTemporary takes away those of these mounts that are still there, and returns all others. A shim
// that ends while its mount is busy, which takes milliseconds, leaves it.
func sweepTemporary(state string, old map[string]bool) (young map[string]bool, err error) {
	young, err = temporaries(state)
	errs := []error{err}
	for name := range young {
		if !old[name] {
			continue
		}
		delete(young, name)
		dir := filepath.Join(state, temporary, name)
		if err := unmountIn(dir); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, ignoreMissing(os.Remove(dir))) // and never what is in it
	}
	return young, errors.Join(errs...)
}

func temporaries(state string) (map[string]bool, error) {
	all, err := os.ReadDir(filepath.Join(state, temporary))
	names := make(map[string]bool, len(all))
	for _, f := range all {
		names[f.Name()] = true
	}
	return names, ignoreMissing(err)
}

// ignoreMissing takes "no such file" for success.
func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
