package network

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A group has the Range user IDs from Base(tenant) on. The first million IDs are left to the host and to other programs
// that assign subordinate IDs. The last range is unused because it contains 2^32-1, which is not a valid ID, and the
// range before it is for the steps of builds.
const (
	Range       = 1 << 16
	firstBase   = 1 << 20
	MaxTenant   = (1<<32-firstBase)/Range - 3
	SandboxBase = firstBase + (MaxTenant+1)*Range // the host's user and group ID of root in a Sandbox
)

// Base returns the host's user and group ID of root in the group's containers.
func Base(tenant uint32) uint32 { return firstBase + tenant*Range }

// makeNamespaces makes a user namespace and a network namespace that belongs to it, and pins both. The container must
// join the user namespace that owns the network namespace, or it can't mount sysfs.
//
// The user namespace is made as the group's own user. Resources that the kernel counts per user (inotify instances,
// pending signals, message queues and more, user_namespaces(7)) are also counted for the user who made the namespace.
// If root made it, the containers of all groups would share root's limits and could exhaust them.
func (ep *endpoint) makeNamespaces() error {
	made := make(chan error)
	go func() {
		// Never unlocked: the thread has another user ID from now on, and must end with this goroutine.
		runtime.LockOSThread()
		err := becomeUser(ep.base())
		if err == nil {
			err = ep.forkNamespaces()
		}
		made <- err
	}()
	return <-made
}

// becomeUser changes the effective user and group of this thread only, and keeps root's capabilities.
func becomeUser(id uint32) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("make namespaces: read capabilities: %w", err)
	}
	const same = ^uintptr(0)
	for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		// A raw system call, because package syscall would change all threads.
		if _, _, errno := unix.RawSyscall(call, same, uintptr(id), same); errno != 0 {
			return fmt.Errorf("make namespaces: become user %d: %w", id, errno)
		}
	}
	if err := unix.Capset(&header, &sets[0]); err != nil { // the change of user has cleared the effective set
		return fmt.Errorf("make namespaces: keep capabilities: %w", err)
	}
	// The change of user has also made the whole process non-dumpable, which blocks access to its /proc files.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	return nil
}

// forkNamespaces makes the namespaces with the credentials of this thread.
func (ep *endpoint) forkNamespaces() error {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(ep.base()), Size: Range}}
	attr := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWNET | unix.CLONE_NEWUSER,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		// Stop the process before its first instruction: it only has to exist.
		Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}
	p, err := os.StartProcess("/proc/self/exe", []string{"namespaces"}, &os.ProcAttr{Env: []string{}, Sys: attr})
	if err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	err = ep.pin(p.Pid)
	return errors.Join(err, killProcess(p))
}

func (ep *endpoint) base() uint32 {
	if ep.Tenant == sandboxGroup {
		return SandboxBase
	}
	return Base(ep.Tenant)
}

func killProcess(p *os.Process) error {
	if err := p.Kill(); err != nil {
		return fmt.Errorf("end the process that made namespaces: %w", err)
	}
	_, err := p.Wait()
	return err
}

// pin mounts the namespaces of a process on files, so that they outlive the process.
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

// pinned reports whether a namespace is mounted on the file.
func pinned(file string) bool {
	var st unix.Statfs_t
	return unix.Statfs(file, &st) == nil && st.Type == unix.NSFS_MAGIC
}

func (ep *endpoint) removeNamespaces() error {
	return errors.Join(unpin(ep.NetNS), unpin(ep.UserNS))
}

func unpin(file string) error {
	for pinned(file) { // an interrupted repair may have mounted it more than once
		if err := unix.Unmount(file, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unpin %s: %w", file, err)
		}
	}
	return ignoreMissing(os.Remove(file))
}
