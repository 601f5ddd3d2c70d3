package api

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// newLink makes a connection to a child process of two pipes, and what the child has of them.
func newLink() (net.Conn, link, error) {
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		return nil, link{}, err
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		return nil, link{}, errors.Join(err, theirIn.Close(), ourOut.Close())
	}
	return pipes{ourIn, ourOut}, link{theirIn, theirOut}, nil
}

// createNewProcessGroup keeps Ctrl-C from a child (CreateProcess, CREATE_NEW_PROCESS_GROUP).
const createNewProcessGroup = 0x200

// ownSession keeps a child from the signals of this process's console.
func ownSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: createNewProcessGroup}
}

// pipes are a connection that is read from one pipe and written to another. Pipes have no deadlines here.
type pipes struct{ in, out *os.File }

func (p pipes) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p pipes) Write(b []byte) (int, error) { return p.out.Write(b) }
func (p pipes) Close() error                { return errors.Join(p.in.Close(), p.out.Close()) }

// CloseWrite tells the child that no more comes.
func (p pipes) CloseWrite() error { return p.out.Close() }

func (p pipes) LocalAddr() net.Addr              { return pipeAddr{} }
func (p pipes) RemoteAddr() net.Addr             { return pipeAddr{} }
func (p pipes) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (p pipes) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (p pipes) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
