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
func (ep *endpoint) makeNamespaces() error {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(ep.base()), Size: Range}}
	attr := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWNET | unix.CLONE_NEWUSER,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		// Stopped before its first instruction: it only has to exist.
		Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}
	runtime.LockOSThread() // the tracer is this thread
	defer runtime.UnlockOSThread()
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
