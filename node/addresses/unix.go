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

// ListenUnix binds the API's socket for root and a group of the system's, where that exists.
func ListenUnix(path, group string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("cannot replace the API's socket: %w", err)
	}
	// The folder is open to look into, so the socket must never be there with a looser mode.
	old := syscall.Umask(0o177)
	ln, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "cannot listen on %s: %w", path, err)
	}
	if gid := numberOf(group); gid >= 0 {
		if err := errors.Join(os.Chown(path, 0, gid), os.Chmod(path, 0o660)); err != nil {
			ln.Close()
			return nil, fmt.Errorf("cannot open the API's socket to group %s: %w", group, err)
		}
	}
	return ln, nil
}

// numberOf returns a group's number, -1 where the system has no such group.
func numberOf(group string) int {
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
