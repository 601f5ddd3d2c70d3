package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/overlay"
)

// harmless are options of a container's files that take the power from what an image brings along: bits and
// capabilities of files that would make somebody of their caller, and device nodes. A container gains nothing
// from them, as no_new_privs is set. But the kernel refuses to start a program that has a capability which the
// container has not, unless such capabilities are ignored.
var harmless = []string{"nosuid", "nodev"}

// prepareRootfs returns the mounts with which containerd's service makes a container's files, and a function that
// takes away what those were made from. It mounts itself what has more layers than containerd's package can name.
func prepareRootfs(all []*types.Mount, temp string) (_ []*types.Mount, release func() error, err error) {
	release = func() error { return nil }
	if len(all) != 1 || all[0].Type != overlay.Type {
		return all, release, nil
	}
	one := mount.Mount{Type: all[0].Type, Source: all[0].Source, Options: append(slices.Clone(all[0].Options), harmless...)}
	if overlay.Fits(one) {
		return []*types.Mount{{Type: one.Type, Source: one.Source, Options: one.Options}}, release, nil
	}
	at, err := os.MkdirTemp(temp, "rootfs")
	if err != nil {
		return nil, nil, fmt.Errorf("the container's files: %w", err)
	}
	if err := overlay.Mount(one, at, overlay.Caller{Temp: temp}); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("the container's files: %w", err), os.Remove(at))
	}
	release = func() error {
		return errors.Join(unix.Unmount(at, unix.MNT_DETACH), os.Remove(at))
	}
	return []*types.Mount{{Type: "bind", Source: at, Options: []string{"rbind", "rw"}}}, release, nil
}

// tempFolder is where this shim mounts what lasts for a moment: in the node's folder, where a node takes away what
// a shim that was killed has left, "" for the system's where that is not.
func tempFolder() string {
	state, err := os.Getwd()
	if err != nil || filepath.Base(filepath.Dir(filepath.Dir(state))) == tasks {
		return ""
	}
	return filepath.Join(state, "m")
}
