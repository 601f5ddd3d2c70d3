package child

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/network"
	"github.com/protoduction/micro/runtime/overlay"
)

// shared mounts each overlay once for all concurrent users, such as steps with the same cache mount: two overlays with the
// same upper layer would not see each other's files.
type shared struct {
	folder string         // of the mounts; "" for the system's temporary folder
	caller overlay.Caller // used for every mount

	mu     sync.Mutex // guards mounts
	mounts map[string]*sharedMount
}

type sharedMount struct {
	at      string
	users   int
	release func() error // of the snapshot
}

// mount mounts an overlay and returns a mount to use instead. The overlay stays mounted until all users have released it.
func (s *shared) mount(m mount.Mount, release func() error) ([]mount.Mount, func() error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.Join(m.Options, ",")
	one := s.mounts[key]
	if one != nil {
		if err := release(); err != nil {
			return nil, nil, err
		}
	} else {
		at, err := os.MkdirTemp(s.folder, "layers")
		if err == nil {
			if err = overlay.Mount(m, at, s.caller); err != nil {
				err = errors.Join(err, os.Remove(at))
			}
		}
		if err != nil {
			return nil, nil, errors.Join(err, release())
		}
		one = &sharedMount{at: at, release: release}
		if s.mounts == nil {
			s.mounts = map[string]*sharedMount{}
		}
		s.mounts[key] = one
	}
	one.users++
	access := "rw"
	if overlay.Upper(m) == "" {
		access = "ro"
	}
	return []mount.Mount{{Type: "bind", Source: one.at, Options: []string{access, "rbind"}}}, func() error { return s.leave(key, one) }, nil
}

func (s *shared) leave(key string, one *sharedMount) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.users--; one.users > 0 {
		return nil
	}
	delete(s.mounts, key)
	if err := mount.Unmount(one.at, 0); err != nil {
		return errors.Join(err, one.release())
	}
	return errors.Join(os.Remove(one.at), one.release())
}

// becomeRootOfStep switches the current thread to the user ID of a step's root, and keeps root's capabilities. The kernel
// creates an overlay's whiteouts and copies as the user who mounted it, and the host's root has no ID in mapped layers.
func becomeRootOfStep() error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&h, &caps[0]); err != nil {
		return err
	}
	// Raw system calls affect only this thread. They return the previous ID.
	for _, call := range []uintptr{unix.SYS_SETFSGID, unix.SYS_SETFSUID} {
		for _, want := range []uintptr{0, network.SandboxBase} {
			if was, _, _ := unix.RawSyscall(call, network.SandboxBase, 0, 0); was != want {
				return fmt.Errorf("become user %d: still %d", network.SandboxBase, was)
			}
		}
	}
	return unix.Capset(&h, &caps[0])
}
