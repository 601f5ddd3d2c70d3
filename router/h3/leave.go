package h3

import (
	"context"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// beginning is a socket filter that drops packets which begin connections: those with a long header of the types 0 and 1
// (RFC 9000, section 17.2; RFC 9369, section 3.2) that are for an ID which the client has made up, of 8 bytes at least.
// Those that go on with a handshake are for an ID of this listener's, of 4 bytes. The header of UDP stands before all. A
// client sends again what is dropped.
var beginning = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 8, Size: 1},
	bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xa0},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x80, SkipFalse: 3},
	bpf.LoadAbsolute{Off: 8 + 5, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: 8, SkipFalse: 1},
	bpf.RetConstant{Val: 0},
	bpf.RetConstant{Val: 1<<32 - 1},
}

// Leave leaves new connections to whoever listens on the socket next, such as a program that takes this one's place:
// clients ask again until then. It returns when the handshakes under way are over, or ctx ends.
func (l *Listener) Leave(ctx context.Context) {
	if l.filter(beginning) != nil {
		return // new ones are refused then
	}
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	begun, since := l.begun.Load(), time.Now()
	for l.shaking.Load() > 0 || time.Since(since) < queued {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
		if now := l.begun.Load(); now != begun {
			begun, since = now, time.Now()
		}
	}
}

// queued is how long packets may be on their way to the library that came before the filter.
const queued = 100 * time.Millisecond

// filter sets the socket's filter; an empty one removes it.
func (l *Listener) filter(program []bpf.Instruction) error {
	conn, ok := l.transport.Conn.(syscall.Conn)
	if !ok {
		return unix.ENOTSOCK
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	code, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(code))
	for i, c := range code {
		filter[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if len(filter) == 0 {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
			return
		}
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	})
	if err == nil {
		err = failed
	}
	return err
}
