package cloud

import (
	"errors"
	"slices"
	"syscall"
)

var shortages = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.ENOMEM, syscall.ENOBUFS,
	syscall.EAGAIN, syscall.EADDRNOTAVAIL,
}

// Shortage says whether an error is one of the machine, or of micro's own process, that lacks something:
// descriptors, disk, memory, processes, ports. It says nothing about the app that was to be started, checked or
// reached.
func Shortage(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(shortages, errno)
}
