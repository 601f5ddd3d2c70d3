// Package quota uses up resources that the kernel limits per user: containers must not use up the host's.
package quota

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Quota is a resource that the kernel limits.
type Quota struct {
	Name string
	Take func(n int) error // takes the n-th one
}

// All are the quotas of user_namespaces(7) and of asynchronous I/O.
var All = []Quota{
	{"inotify", func(int) error { _, err := unix.InotifyInit1(unix.IN_CLOEXEC); return err }},
	{"pending signals", func(int) error { // a timer reserves its signal
		var id int32
		return call(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&id)))
	}},
	{"message queues", func(n int) error {
		name, err := unix.BytePtrFromString(fmt.Sprintf("micro-test-%d-%d", unix.Getpid(), n))
		if err != nil {
			return err
		}
		err = call(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		if unix.Getpid() > 1000 { // on the host, clean up
			_ = call(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(name)), 0, 0)
		}
		return err
	}},
	{"asynchronous I/O", func(int) error {
		var ctx uintptr
		return call(unix.SYS_IO_SETUP, 1024, uintptr(unsafe.Pointer(&ctx)), 0)
	}},
}

func call(number, a, b, c uintptr) error {
	if _, _, e := unix.Syscall6(number, a, b, c, 0, 0, 0); e != 0 {
		return e
	}
	return nil
}
