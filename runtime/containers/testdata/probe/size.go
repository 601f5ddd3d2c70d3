package main

import (
	"syscall"
	"unsafe"
)

func size() (rows, columns uint16, err error) {
	var ws struct{ rows, columns, x, y uint16 }
	_, _, e := syscall.Syscall(syscall.SYS_IOCTL, 0, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&ws)))
	return ws.rows, ws.columns, errno(e)
}
