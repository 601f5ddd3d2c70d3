package cluster

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unconfirmedLimit is how long what was sent may go unconfirmed before a connection is given up. Without it a write to a
// machine that has lost its network or power blocks for a quarter of an hour, and so does the end of what writes.
const unconfirmedLimit = 5 * time.Second

// giveUpUnconfirmed sets that limit for a connection, or for all that a listener accepts (TCP_USER_TIMEOUT, RFC 5482).
func giveUpUnconfirmed(_, _ string, c syscall.RawConn) (err error) {
	if failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unconfirmedLimit.Milliseconds()))
	}); failed != nil {
		return failed
	}
	return err
}

// bindEarly sets the same, and lets a listener bind an address that the machine does not have (IP_FREEBIND, ip(7)).
func bindEarly(network, addr string, c syscall.RawConn) (err error) {
	if failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	}); failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	return giveUpUnconfirmed(network, addr, c)
}
