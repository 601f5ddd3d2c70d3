package disk

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Project is the ID by which a file system counts the files of a folder and everything below it (project quotas of
// ext4 and XFS, quotactl(2)). Unlinked files count as long as they are open.
type Project uint32

// Usage is the disk usage of files.
type Usage struct{ Bytes, Files int64 }

// Constants of linux/quota.h, linux/dqblk_xfs.h and linux/fs.h.
const (
	projectQuota = 2
	getQuota     = 0x800007
	setQuota     = 0x800008
	getState     = 'X'<<8 + 8

	validLimits = 1 | 4  // QIF_BLIMITS, QIF_ILIMITS
	enforced    = 1 << 5 // FS_QUOTA_PDQ_ENFD

	getAttributes = 0x801c581f // FS_IOC_FSGETXATTR
	setAttributes = 0x401c5820 // FS_IOC_FSSETXATTR
	inherit       = 0x200      // FS_XFLAG_PROJINHERIT
)

// quota is struct if_dqblk. Limits of space are in KiB.
type quota struct {
	hardSpace, softSpace, space uint64
	hardFiles, softFiles, files uint64
	spaceTime, filesTime        uint64
	valid                       uint32
	_                           uint32
}

// state is the beginning of struct fs_quota_statv, which has the flags.
type state struct {
	version int8
	_       uint8
	flags   uint16
	_       [256]byte
}

// attributes is struct fsxattr.
type attributes struct {
	flags, extentSize, extents uint32
	project                    Project
	_                          [12]byte
}

// EnforcesProjects reports whether dir's file system enforces limits of projects.
func EnforcesProjects(dir string) bool {
	s := state{version: 1}
	err := control(dir, getState, 0, unsafe.Pointer(&s))
	return err == nil && s.flags&enforced != 0
}

// SetProject assigns a folder, which must be empty, and everything that is created in it to a project.
func SetProject(dir string, p Project) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("set a project: %w", err)
	}
	defer f.Close()
	var a attributes
	if err := ioctl(f, getAttributes, &a); err != nil {
		return fmt.Errorf("read the project of %s: %w", dir, err)
	}
	a.flags |= inherit
	a.project = p
	if err := ioctl(f, setAttributes, &a); err != nil {
		return fmt.Errorf("set project %d of %s: %w", p, dir, err)
	}
	return nil
}

// ProjectOf returns the project of a folder; 0 for none.
func ProjectOf(dir string) (Project, error) {
	f, err := os.Open(dir)
	if err != nil {
		return 0, fmt.Errorf("read a project: %w", err)
	}
	defer f.Close()
	var a attributes
	if err := ioctl(f, getAttributes, &a); err != nil {
		return 0, fmt.Errorf("read the project of %s: %w", dir, err)
	}
	return a.project, nil
}

// SetLimit limits the files of a project on dir's file system; 0 is unlimited.
func SetLimit(dir string, p Project, limit Usage) error {
	q := quota{hardSpace: uint64(limit.Bytes+1023) / 1024, hardFiles: uint64(limit.Files), valid: validLimits}
	if err := control(dir, setQuota, p, unsafe.Pointer(&q)); err != nil {
		return fmt.Errorf("limit project %d on the file system of %s: %w", p, dir, err)
	}
	return nil
}

// ProjectUsage returns the usage of a project on dir's file system, and whether it has a limit.
func ProjectUsage(dir string, p Project) (u Usage, limited bool, err error) {
	var q quota
	err = control(dir, getQuota, p, unsafe.Pointer(&q))
	if errors.Is(err, unix.ENOENT) { // XFS has no record of an unused project
		return u, false, nil
	}
	if err != nil {
		return u, false, fmt.Errorf("read the quota of project %d on the file system of %s: %w", p, dir, err)
	}
	return Usage{int64(q.space), int64(q.files)}, q.hardSpace != 0 || q.hardFiles != 0, nil
}

// control calls quotactl_fd(2), which exists from kernel 5.14 on and takes a folder of the file system.
func control(dir string, command uint32, p Project, argument unsafe.Pointer) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), uintptr(command<<8|projectQuota), uintptr(p), uintptr(argument), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func ioctl(f *os.File, request uintptr, a *attributes) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(a))); errno != 0 {
		return errno
	}
	return nil
}
