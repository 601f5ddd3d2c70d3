package network

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A group's user IDs are the Range from Base(tenant) on. The first million IDs are left to the host
// and to what else hands out subordinate IDs; the last range holds 2^32-1, which is no ID at all, and
// the one before it is for the steps of builds.
const (
	Range       = 1 << 16
	firstBase   = 1 << 20
	MaxTenant   = (1<<32-firstBase)/Range - 3
	SandboxBase = firstBase + (MaxTenant+1)*Range // the host's user and group ID of root in a Sandbox
)

// Base is the host's user and group ID that root of the group's containers is.
func Base(tenant uint32) uint32 { return firstBase + tenant*Range }

// makeNamespaces makes a network namespace that belongs to a new user namespace, and pins both. The
// network's owner has to be the very user namespace that the container joins, or it can't mount sysfs.
//
// The user namespace is made as the group's own user. What the kernel counts by user (inotify instances, pending
// signals, message queues and more, user_namespaces(7)) is also counted for the user who made the namespace: made
// by root, the containers of all groups would share, and use up, what root may have.
func (ep *endpoint) makeNamespaces() error {
	made := make(chan error)
	go func() {
		// Never unlocked: the thread, which has become another user, ends with its goroutine.
		runtime.LockOSThread()
		err := becomeUser(ep.base())
		if err == nil {
			err = ep.forkNamespaces()
		}
		made <- err
	}()
	return <-made
}

// becomeUser makes a user of the host the effective one of this thread alone, with all of root's capabilities.
func becomeUser(id uint32) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("make namespaces: read capabilities: %w", err)
	}
	const same = ^uintptr(0)
	for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		// Not by package syscall, which changes all threads.
		if _, _, errno := unix.RawSyscall(call, same, uintptr(id), same); errno != 0 {
			return fmt.Errorf("make namespaces: become user %d: %w", id, errno)
		}
	}
	if err := unix.Capset(&header, &sets[0]); err != nil { // a change of user has cleared the effective ones
		return fmt.Errorf("make namespaces: keep capabilities: %w", err)
	}
	// The change has also made the whole process one that other programs of its user may not look into.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	return nil
}

// forkNamespaces makes the namespaces as whoever this thread is.
func (ep *endpoint) forkNamespaces() error {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(ep.base()), Size: Range}}
	attr := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWNET | unix.CLONE_NEWUSER,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		// Stopped before its first instruction: it only has to exist.
		Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}
	p, err := os.StartProcess("/proc/self/exe", []string{"namespaces"}, &os.ProcAttr{Env: []string{}, Sys: attr})
	if err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	err = ep.pin(p.Pid)
	return errors.Join(err, stop(p))
}

func (ep *endpoint) base() uint32 {
	if ep.Tenant == sandboxGroup {
		return SandboxBase
	}
	return Base(ep.Tenant)
}

func stop(p *os.Process) error {
	if err := p.Kill(); err != nil {
		return fmt.Errorf("end the process that made namespaces: %w", err)
	}
	_, err := p.Wait()
	return err
}

// pin keeps the namespaces of a process in files.
func (ep *endpoint) pin(pid int) error {
	if err := bind(fmt.Sprintf("/proc/%d/ns/user", pid), ep.UserNS); err != nil {
		return err
	}
	return bind(fmt.Sprintf("/proc/%d/ns/net", pid), ep.NetNS)
}

func bind(ns, file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return fmt.Errorf("pin a namespace: %w", err)
	}
	f.Close()
	if err := unix.Mount(ns, file, "none", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin a namespace: mount %s on %s: %w", ns, file, err)
	}
	return nil
}

// pinned says whether a namespace is mounted on the file.
func pinned(file string) bool {
	var st unix.Statfs_t
	return unix.Statfs(file, &st) == nil && st.Type == unix.NSFS_MAGIC
}

func (ep *endpoint) removeNamespaces() error {
	return errors.Join(unpin(ep.NetNS), unpin(ep.UserNS))
}

func unpin(file string) error {
	for pinned(file) { // more than once where an earlier repair was interrupted
		if err := unix.Unmount(file, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unpin %s: %w", file, err)
		}
	}
	return gone(os.Remove(file))
}
