package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// Caller says what the caller of Mount needs beyond the mount itself. The zero value needs nothing.
type Caller struct {
	Temp    string       // folder for mounts that last as long as the call; "" is the system's
	Prepare func() error // is called on the thread that mounts, which ends thereafter: it may change its user
}

// Mount mounts m, of type overlay, at a folder. Its options may ask for mapped owners as containerd's do (uidmap,
// gidmap).
func Mount(m mount.Mount, at string, by Caller) error {
	layers := Layers(m)
	if len(layers) > MaxLayers {
		return fmt.Errorf("%d layers: the kernel stacks %d at most", len(layers), MaxLayers)
	}
	o := parse(m.Options)
	if o.uidmap != "" && o.gidmap != "" {
		mapped, release, err := mapOwners(layers, o, by.Temp)
		if err != nil {
			return fmt.Errorf("map the owners of the layers: %w", err)
		}
		defer release()
		layers = mapped
	}
	names, closeAll, err := open(layers)
	if err != nil {
		return err
	}
	defer closeAll()
	data := strings.Join(append(o.data, "lowerdir="+strings.Join(names, ":")), ",")
	if len(data) >= os.Getpagesize() {
		return fmt.Errorf("the options of a mount take %d bytes: the kernel reads %d", len(data), os.Getpagesize()-1)
	}
	return mountInDescriptors(at, o.flags, data, by.Prepare)
}

// mountInDescriptors mounts from the folder in which the descriptors of this process have names. Its thread has
// another folder and perhaps another user from then on, so that it is not used again.
func mountInDescriptors(at string, flags uintptr, data string, prepare func() error) error {
	done := make(chan error)
	go func() {
		goruntime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Chdir("/proc/thread-self/fd")
		}
		if err == nil && prepare != nil {
			err = prepare()
		}
		if err == nil {
			err = unix.Mount("overlay", at, "overlay", flags, data)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		return fmt.Errorf("mount layers at %s: %w", at, err)
	}
	return nil
}

// open opens the layers and returns their descriptors as names.
func open(layers []string) (names []string, closeAll func(), err error) {
	var files []int
	closeAll = func() {
		for _, fd := range files {
			unix.Close(fd)
		}
	}
	for _, l := range layers {
		fd, err := unix.Open(l, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			closeAll()
			return nil, nil, &os.PathError{Op: "open layer", Path: l, Err: err}
		}
		files = append(files, fd)
		names = append(names, strconv.Itoa(fd))
	}
	return names, closeAll, nil
}

// mapOwners shows the layers with mapped owners, read-only, in a mount of the folder that they have in common.
// release takes that away, which the overlay outlives.
func mapOwners(layers []string, o options, temp string) (mapped []string, release func(), err error) {
	folder := commonFolder(layers)
	if folder == "/" {
		return nil, nil, errors.New("they have no folder in common")
	}
	ns, err := mount.GetUsernsFD(o.uidmap, o.gidmap)
	if err != nil {
		return nil, nil, err
	}
	defer ns.Close()
	view, err := os.MkdirTemp(temp, "layers")
	if err != nil {
		return nil, nil, err
	}
	if err := mount.IDMapMountWithAttrs(folder, view, int(ns.Fd()), unix.MOUNT_ATTR_RDONLY, 0); err != nil {
		return nil, nil, errors.Join(err, os.Remove(view))
	}
	release = func() {
		// The view may be busy for a moment where a program is being started: it goes away with its last user.
		_ = unix.Unmount(view, unix.MNT_DETACH)
		_ = os.Remove(view)
	}
	for _, l := range layers {
		mapped = append(mapped, filepath.Join(view, strings.TrimPrefix(l, folder)))
	}
	return mapped, release, nil
}

// commonFolder returns the deepest folder that all paths are in.
func commonFolder(paths []string) string {
	folder := filepath.Dir(paths[0])
	for _, p := range paths {
		for folder != "/" && !strings.HasPrefix(p, folder+"/") {
			folder = filepath.Dir(folder)
		}
	}
	return folder
}
