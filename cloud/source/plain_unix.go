//go:build !windows

package source

import "syscall"

// plainFile are the flags of open(2) that refuse a link, and that do not wait for who writes to a FIFO.
const plainFile = syscall.O_NONBLOCK | syscall.O_NOFOLLOW
