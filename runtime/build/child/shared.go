package child

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/network"
)

// shared has an upper layer mounted once, however many steps write to it at a time, as they do to a
// cache mount: two overlays on one upper layer would not see each other's files.
type shared struct {
	folder string

	mu     sync.Mutex // guards mounts
	mounts map[string]*sharedMount
}

type sharedMount struct {
	at      string
	users   int
	release func() error // of the snapshot
}

// mount returns what to mount in place of an overlay that can be written to; all else it leaves alone.
func (s *shared) mount(all []mount.Mount, release func() error) ([]mount.Mount, func() error, error) {
	if len(all) != 1 || all[0].Type != "overlay" || !slices.ContainsFunc(all[0].Options, isUpper) {
		return all, release, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.Join(all[0].Options, ",")
	one := s.mounts[key]
	if one != nil {
		if err := release(); err != nil {
			return nil, nil, err
		}
	} else {
		at, err := os.MkdirTemp(s.folder, "")
		if err == nil {
			if err = mountAsRootOfStep(all[0].Options, at); err != nil {
				err = errors.Join(err, os.Remove(at))
			}
		}
		if err != nil {
			return nil, nil, errors.Join(err, release())
		}
		one = &sharedMount{at: at, release: release}
		s.mounts[key] = one
	}
	one.users++
	return []mount.Mount{{Type: "bind", Source: one.at, Options: []string{"rw", "rbind"}}}, func() error { return s.leave(key, one) }, nil
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

// mountAsRootOfStep mounts an overlay as the user that root of a step is, with root's capabilities:
// the kernel makes whiteouts and copies in the name of whoever mounted, and in mapped layers the host's
// root has no name. A thread that has changed its user ends with its goroutine.
func mountAsRootOfStep(options []string, at string) error {
	data := strings.Join(options, ",")
	if len(data) >= os.Getpagesize() {
		return errors.New("more layers than a mount takes")
	}
	done := make(chan error)
	go func() {
		goruntime.LockOSThread()
		err := becomeRootOfStep()
		if err == nil {
			err = unix.Mount("overlay", at, "overlay", 0, data)
		}
		done <- err
	}()
	return <-done
}

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

func isUpper(option string) bool { return strings.HasPrefix(option, "upperdir=") }
