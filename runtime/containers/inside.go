package containers

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/network"
)

// maxID is the first user ID beyond a container's range.
const maxID = network.Range

// openIn opens a file in a file system that an untrusted container controls and may change meanwhile. Symbolic links,
// also absolute ones, can't leave root, and opening a FIFO does not block.
func openIn(root *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat2(int(root.Fd()), name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s in %s: %w", name, root.Name(), err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// makeVolumeFolders makes the folders that the image declares as VOLUME but does not contain, owned by root, as Docker
// does. The container's process exists with all mounts, and nothing of the image has run yet. runc makes the working
// folder.
func makeVolumeFolders(c runtime.Container, image *image, pid uint32) error {
	for _, name := range slices.Sorted(maps.Keys(image.config.Volumes)) {
		name = path.Join("/", name)
		where, below, owner := fmt.Sprintf("/proc/%d/root", pid), name, int(network.Base(c.Tenant))
		for _, m := range c.Mounts {
			// A volume's files have unmapped owners on disk; its mount maps them, and accepts no files of the host's root.
			if rest, ok := strings.CutPrefix(name, path.Clean(m.Target)+"/"); ok && len(rest) < len(below) {
				where, below, owner = m.Source, rest, 0
			}
		}
		if err := makeBelow(where, below, owner); err != nil {
			return cloud.Errorf(cloud.Invalid, "cannot make the image's volume %s: %w", name, err)
		}
	}
	return nil
}

func makeBelow(where, name string, owner int) error {
	root, err := os.Open(where)
	if err != nil {
		return err
	}
	defer root.Close()
	return makeIn(root, name, owner)
}

// makeIn makes the missing folders of a path, owned by a user ID of the host. Links can't leave root. The path itself may
// exist as anything.
func makeIn(root *os.File, name string, owner int) error {
	dir, err := openIn(root, ".")
	if err != nil {
		return err
	}
	defer func() { dir.Close() }()
	done := ""
	for part := range strings.FieldsFuncSeq(path.Join("/", name), func(c rune) bool { return c == '/' }) {
		err := unix.Mkdirat(int(dir.Fd()), part, 0o755)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("make %s in /%s: %w", part, done, err)
		}
		made := err == nil
		done = path.Join(done, part)
		next, err := openIn(root, done)
		if err != nil {
			return err
		}
		dir.Close()
		dir = next
		if made { // use the open folder, because its name may have become a link meanwhile
			if err := errors.Join(dir.Chmod(0o755), dir.Chown(owner, owner)); err != nil {
				return err
			}
		}
	}
	return nil
}
