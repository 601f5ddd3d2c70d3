//go:build !windows

package api

import (
	"net"
	"os"
	"syscall"
)

// newLink makes a connection to a child process, and what the child has of it.
func newLink() (net.Conn, link, error) {
	// No other process may be started between the two calls: it would keep the connection open.
	syscall.ForkLock.RLock()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(pair[0])
		syscall.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, link{}, err
	}
	theirs, ours := os.NewFile(uintptr(pair[0]), "ssh"), os.NewFile(uintptr(pair[1]), "micro")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, link{}, err
	}
	return conn, link{theirs, theirs}, nil
}

// ownSession keeps a child from the signals of this process's terminal.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
