package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// Attributes that overlayfs gives folders and files of an upper layer. A folder with the first one hides what is
// below it; a file with the second has its content elsewhere.
const (
	opaque   = "trusted.overlay.opaque"
	metacopy = "trusted.overlay.metacopy"
)

// ErrNotLinked says that a layer must be unpacked from its archive.
var ErrNotLinked = errors.New("the layer can't be linked")

// Link gives a new snapshot the files of one that has the same layer on top, as hard links: neither of them ever
// changes, and nothing is written or stored twice. It fails with ErrNotLinked, and leaves the new snapshot empty, where
// it is not sure that unpacking the layer would make the same files.
func Link(ctx context.Context, from, to []mount.Mount) error {
	source, below := folderOf(from)
	target, parents := folderOf(to)
	if source == "" || target == "" || len(below) != len(parents) {
		return fmt.Errorf("%w: the snapshots have different layers below", ErrNotLinked)
	}
	err := link(ctx, source, target)
	if err != nil {
		err = errors.Join(fmt.Errorf("%w: %w", ErrNotLinked, err), empty(target))
	}
	return err
}

// folderOf returns the folder with the files of a snapshot's own, and those of the layers below.
func folderOf(mounts []mount.Mount) (own string, below []string) {
	if len(mounts) != 1 {
		return "", nil
	}
	if mounts[0].Type != "overlay" {
		return mounts[0].Source, nil
	}
	own, below = overlayOf(mounts)
	if own == "" && len(below) > 0 { // it is only read
		own, below = below[0], below[1:]
	}
	return own, below
}

func link(ctx context.Context, source, target string) error {
	type folder struct {
		path string
		at   time.Time
	}
	var folders []folder
	err := filepath.WalkDir(source, func(path string, e fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil || path == source {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.ErrUnsupported
		}
		if KnownID(int(st.Uid)) != int(st.Uid) || KnownID(int(st.Gid)) != int(st.Gid) {
			return fmt.Errorf("%s belongs to nobody that containers have", path)
		}
		to := target + strings.TrimPrefix(path, source)
		switch {
		case e.IsDir():
			folders = append(folders, folder{to, info.ModTime()})
			return copyFolder(path, to, st)
		case info.Mode()&fs.ModeDevice != 0 && (info.Mode()&fs.ModeCharDevice == 0 || st.Rdev != 0):
			return fmt.Errorf("%s is a device node", path)
		case info.Mode().IsRegular():
			if _, err := unix.Lgetxattr(path, metacopy, nil); err == nil {
				return fmt.Errorf("%s has its content elsewhere", path)
			}
		}
		return os.Link(path, to)
	})
	// The inner ones first: their own time changes nothing outside of them.
	for _, f := range slices.Backward(folders) {
		if err == nil {
			err = os.Chtimes(f.path, f.at, f.at)
		}
	}
	return err
}

// copyFolder makes an empty folder like another one.
func copyFolder(from, to string, st *syscall.Stat_t) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Chmod(to, st.Mode&0o7777); err != nil { // after the owner, who takes bits away
		return &fs.PathError{Op: "chmod", Path: to, Err: err}
	}
	return copyAttributes(from, to)
}

// copyAttributes copies what an archive has of a folder's extended attributes: whether it hides what is below.
func copyAttributes(from, to string) error {
	var value [8]byte
	n, err := unix.Lgetxattr(from, opaque, value[:])
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		return nil
	case err != nil:
		return &fs.PathError{Op: "lgetxattr", Path: from, Err: err}
	}
	if err := unix.Lsetxattr(to, opaque, value[:n], 0); err != nil {
		return &fs.PathError{Op: "lsetxattr", Path: to, Err: err}
	}
	return nil
}

// empty removes all that is in a folder.
func empty(dir string) error {
	all, err := os.ReadDir(dir)
	for _, e := range all {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
