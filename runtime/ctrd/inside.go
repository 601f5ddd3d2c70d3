package ctrd

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/network"
)

// maxID is the first user ID that a container does not have.
const maxID = network.Range

// openIn opens a file that somebody else laid out, in a file system that he may still change: links,
// absolute ones too, lead no further than root, and what blocks (a FIFO) does not.
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
