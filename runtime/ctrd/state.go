package ctrd

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

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
	mounted := unix.Unmount(dir, unix.MNT_DETACH)
	if errors.Is(mounted, unix.EINVAL) { // none of ours: /run is in memory itself
		mounted = nil
	}
	return errors.Join(mounted, os.RemoveAll(dir))
}
