package handler

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"os/user"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// peer is who the kernel says is at the other end of a unix socket: its user and groups when it
// connected, and its process then.
type peer struct {
	uid    uint32
	pid    int32
	groups []uint32 // the primary one too
}

// String is how the audit log names where a request comes from.
func (p peer) String() string { return fmt.Sprintf("socket uid=%d pid=%d", p.uid, p.pid) }

type peerKey struct{}

// ConnContext notes who is at the other end of a unix socket; it is for http.Server's field of that name.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if conn, ok := c.(*net.UnixConn); ok {
		if p, err := peerOf(conn); err == nil {
			return context.WithValue(ctx, peerKey{}, p)
		}
	}
	// Whom the kernel doesn't name is nobody, and refused.
	return ctx
}

func peerOf(c *net.UnixConn) (p peer, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return p, err
	}
	cerr := raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil {
			return
		}
		p.uid, p.pid = cred.Uid, cred.Pid
		p.groups, err = peerGroups(int(fd))
		p.groups = append(p.groups, cred.Gid)
	})
	if cerr != nil {
		return p, cerr
	}
	return p, err
}

// peerGroups asks for the supplementary groups (socket(7), SO_PEERGROUPS, Linux 4.13).
func peerGroups(fd int) ([]uint32, error) {
	size := uint32(64 * 4)
	for {
		buf := make([]byte, size)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errno == unix.ERANGE && int(size) > len(buf) {
			continue // size says how much it takes
		}
		if errno != 0 {
			return nil, errno
		}
		var groups []uint32
		for b := buf[:size]; len(b) >= 4; b = b[4:] {
			groups = append(groups, binary.NativeEndian.Uint32(b))
		}
		return groups, nil
	}
}

// actor says who asks. On a unix socket root is admin of the cloud, a member of the admin group has the role that
// the node gives it, and other groups of the system have what they were granted.
func (h *Handler) actor(r *http.Request) (cloud.Actor, error) {
	p, ok := r.Context().Value(peerKey{}).(peer)
	if !ok {
		return cloud.Actor{}, cloud.Errorf(cloud.Denied, "the API cannot tell who is calling").WithHint("use the node's unix socket")
	}
	a := cloud.Actor{Name: userName(p.uid), Source: p.String()}
	if p.uid == 0 {
		a.Role = cloud.RoleAdmin
		return a, nil
	}
	for _, gid := range p.groups {
		name := groupName(gid)
		if name == h.AdminGroup {
			a.Role = h.AdminRole
		}
		a.Subjects = append(a.Subjects, cloud.UnixGroup(name))
	}
	if h.Store.State().MayAnywhere(a) == nil {
		return a, nil
	}
	return a, cloud.Errorf(cloud.Denied, "user %s has no role here", a.Name).WithHint("sudo usermod -aG %s %s, and log in again", h.AdminGroup, a.Name)
}

// groupName is the name of a group of this system, which must be looked up: one that has none is nobody's.
func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return "gid-" + id
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid-" + id
}
