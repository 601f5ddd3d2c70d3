package addresses

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/protoduction/micro/cloud"
)

// ListenUnix binds the API's socket for root and, if it exists, a system group.
func ListenUnix(path, group string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("cannot replace the API's socket: %w", err)
	}
	// Other users can enter the folder, so the socket must have its strict mode from the beginning.
	old := syscall.Umask(0o177)
	ln, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "cannot listen on %s: %w", path, err)
	}
	if gid := groupID(group); gid >= 0 {
		if err := errors.Join(os.Chown(path, 0, gid), os.Chmod(path, 0o660)); err != nil {
			ln.Close()
			return nil, fmt.Errorf("cannot open the API's socket to group %s: %w", group, err)
		}
	}
	return ln, nil
}

// groupID returns a group's ID, or -1 if the system has no such group.
func groupID(group string) int {
	g, err := user.LookupGroup(group)
	if err != nil {
		return -1
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1
	}
	return gid
}
