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
// and to what else hands out subordinate IDs; the last range holds 2^32-1, which is no ID at all.
const (
	Range     = 1 << 16
	firstBase = 1 << 20
	MaxTenant = (1<<32-firstBase)/Range - 2
)

// Base is the host's user and group ID that root of the group's containers is.
func Base(tenant uint32) uint32 { return firstBase + tenant*Range }

// makeNamespaces makes a network namespace that belongs to a new user namespace, or to the host's where
// no file for one is named, and pins both. The network's owner has to be the very user namespace that
// the container joins, or it can't mount sysfs.
func (ep *endpoint) makeNamespaces() error {
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET,
		// Stopped before its first instruction: it only has to exist.
		Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}
	if ep.UserNS != "" {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(Base(ep.Tenant)), Size: Range}}
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings, attr.GidMappings, attr.GidMappingsEnableSetgroups = ids, ids, true
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

func stop(p *os.Process) error {
	if err := p.Kill(); err != nil {
		return fmt.Errorf("end the process that made namespaces: %w", err)
	}
	_, err := p.Wait()
	return err
}

// pin keeps the namespaces of a process in files.
func (ep *endpoint) pin(pid int) error {
	if ep.UserNS != "" {
		if err := bind(fmt.Sprintf("/proc/%d/ns/user", pid), ep.UserNS); err != nil {
			return err
		}
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
	err := unpin(ep.NetNS)
	if ep.UserNS != "" {
		err = errors.Join(err, unpin(ep.UserNS))
	}
	return err
}

func unpin(file string) error {
	for pinned(file) { // more than once where an earlier repair was interrupted
		if err := unix.Unmount(file, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unpin %s: %w", file, err)
		}
	}
	return gone(os.Remove(file))
}
