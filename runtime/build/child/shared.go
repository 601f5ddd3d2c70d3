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

// shared mounts layers once, however many use them at a time, as steps do with a cache mount: two overlays on one
// upper layer would not see each other's files.
type shared struct {
	folder string         // "" is the system's for temporary files
	caller overlay.Caller // of every mount

	mu     sync.Mutex // guards mounts
	mounts map[string]*sharedMount
}

type sharedMount struct {
	at      string
	users   int
	release func() error // of the snapshot
}

// mount mounts an overlay and returns what to mount in its place. The mount lasts until all have released it.
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

// becomeRootOfStep makes its thread the user that root of a step is, with root's capabilities: the kernel makes
// whiteouts and copies of an overlay in the name of whoever mounted it, and in mapped layers the host's root has
// no name.
func becomeRootOfStep() error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&h, &caps[0]); err != nil {
		return err
	}
	// The raw calls are this thread's alone, and say who it was before.
	for _, call := range []uintptr{unix.SYS_SETFSGID, unix.SYS_SETFSUID} {
		for _, want := range []uintptr{0, network.SandboxBase} {
			if was, _, _ := unix.RawSyscall(call, network.SandboxBase, 0, 0); was != want {
				return fmt.Errorf("become user %d: still %d", network.SandboxBase, was)
			}
		}
	}
	return unix.Capset(&h, &caps[0])
}
