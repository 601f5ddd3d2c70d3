package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize = 32   // messages a system call
	maxQuery  = 2048 // bytes; what is longer reads as malformed
)

// udpSocket reads and writes messages in batches: at the rates that matter the system calls are most of
// what a query costs.
type udpSocket struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	// wildcard sockets answer from the address that was asked, which the control message carries.
	wildcard bool
}

func newUDPSocket(addr netip.AddrPort) (*udpSocket, error) {
	conn, err := net.ListenUDP(family("udp", addr), net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	u := &udpSocket{conn: conn, wildcard: addr.Addr().IsUnspecified()}
	u.raw, err = conn.SyscallConn()
	if err == nil && u.wildcard {
		err = u.wantLocalAddr()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	// Room for a burst while the reader is busy; the kernel may grant less.
	_ = conn.SetReadBuffer(1 << 20)
	return u, nil
}

func (u *udpSocket) wantLocalAddr() error {
	var v4, v6 error
	err := u.raw.Control(func(fd uintptr) {
		v4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		v6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	})
	if err == nil && v4 != nil && v6 != nil {
		err = errors.Join(v4, v6)
	}
	return err
}

// mmsghdr is what recvmmsg(2) and sendmmsg(2) take an array of.
type mmsghdr struct {
	unix.Msghdr
	n uint32
	_ [unsafe.Sizeof(uintptr(0)) - 4]byte
}

// batch is the memory of one reader, used again and again.
type batch struct {
	in, out []mmsghdr
	slots   []slot
	replies int
}

type slot struct {
	control [128]byte // first, because its headers want alignment
	query   [maxQuery]byte
	answer  [maxUDP]byte
	from    unix.RawSockaddrInet6
	qv, av  unix.Iovec
}

func newBatch(wildcard bool) *batch {
	b := &batch{in: make([]mmsghdr, batchSize), out: make([]mmsghdr, batchSize), slots: make([]slot, batchSize)}
	for i := range b.slots {
		s := &b.slots[i]
		s.qv.Base = &s.query[0]
		s.qv.SetLen(len(s.query))
		b.in[i].Name = (*byte)(unsafe.Pointer(&s.from))
		b.in[i].Iov = &s.qv
		b.in[i].SetIovlen(1)
		if wildcard {
			b.in[i].Control = &s.control[0]
		}
	}
	return b
}

// receive returns how many messages came.
func (b *batch) receive(fd uintptr) (int, syscall.Errno) {
	for i := range b.in {
		b.in[i].Namelen = unix.SizeofSockaddrInet6
		if b.in[i].Control != nil {
			b.in[i].SetControllen(len(b.slots[i].control))
		}
	}
	n, _, errno := syscall.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), uintptr(len(b.in)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// message is the i-th that came, and who sent it.
func (b *batch) message(i int) ([]byte, netip.AddrPort) {
	s := &b.slots[i]
	return s.query[:b.in[i].n], sockaddr(&s.from)
}

// reply queues the answer to the i-th message.
func (b *batch) reply(i int, answer []byte) {
	s, out := &b.slots[i], &b.out[b.replies]
	s.av.Base = &answer[0]
	s.av.SetLen(len(answer))
	out.Name, out.Namelen = b.in[i].Name, b.in[i].Namelen
	out.Iov = &s.av
	out.SetIovlen(1)
	if b.in[i].Control != nil {
		out.Control, out.Controllen = b.in[i].Control, b.in[i].Controllen
		anyInterface(s.control[:out.Controllen])
	}
	b.replies++
}

// send sends answers [from, replies) and returns how many went.
func (b *batch) send(fd uintptr, from int) (int, syscall.Errno) {
	n, _, errno := syscall.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.out[from])), uintptr(b.replies-from), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// anyInterface leaves a received packet's local address in its control messages and lets the routes
// choose the interface: answers need not go out where the query came in. Link-local IPv6 keeps it.
func anyInterface(control []byte) {
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		if h.Len < unix.SizeofCmsghdr || int(h.Len) > len(control) {
			return
		}
		data := control[unix.CmsgLen(0):h.Len]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			(*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Ifindex = 0
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			if info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0])); !netip.AddrFrom16(info.Addr).IsLinkLocalUnicast() {
				info.Ifindex = 0
			}
		}
		control = control[min(unix.CmsgSpace(len(data)), len(control)):]
	}
}

func sockaddr(from *unix.RawSockaddrInet6) netip.AddrPort {
	if from.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), swap(v4.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(from.Addr), swap(from.Port))
}

// swap turns network order into the machine's.
func swap(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}

// serveUDP answers what comes to one socket until it is closed.
func (s *Server) serveUDP(ctx context.Context, u *udpSocket) error {
	b := newBatch(u.wildcard)
	var q Query
	var n, sent, faults int
	var errno syscall.Errno
	receive := func(fd uintptr) bool {
		n, errno = b.receive(fd)
		return errno != unix.EAGAIN && errno != unix.EINTR
	}
	send := func(fd uintptr) bool {
		n, errno = b.send(fd, sent)
		return errno != unix.EAGAIN && errno != unix.EINTR
	}
	for {
		if err := u.raw.Read(receive); err != nil {
			return err
		}
		if errno != 0 { // left by an earlier answer, such as ECONNREFUSED; else the socket is broken
			if faults++; faults > 1000 {
				return fmt.Errorf("read dns queries from %s: %w", u.conn.LocalAddr(), errno)
			}
			continue
		}
		faults = 0
		b.replies = 0
		for i := range n {
			msg, from := b.message(i)
			answer, _, v := s.handle(b.slots[i].answer[:0], &q, msg, from.Addr())
			switch v {
			case answered:
				b.reply(i, answer)
			case forwarded:
				s.forwardUDP(ctx, u, b, i, from, &q)
			case dropped:
			}
		}
		for sent = 0; sent < b.replies; {
			if err := u.raw.Write(send); err != nil {
				return err
			}
			if errno != 0 {
				n = 1 // no way to this one client
			}
			sent += n
		}
	}
}

// forwardUDP looks up what the i-th message asks, beside the reader.
func (s *Server) forwardUDP(ctx context.Context, u *udpSocket, b *batch, i int, client netip.AddrPort, q *Query) {
	if answer, ok := s.cfg.Forward.cached(b.slots[i].answer[:0], q); ok {
		b.reply(i, s.record(q, answer))
		return
	}
	if !s.cfg.Forward.admit(client.Addr()) {
		b.reply(i, s.record(q, busy(b.slots[i].answer[:0], q)))
		return
	}
	msg, _ := b.message(i)
	own := &Query{}
	own.Parse(append([]byte(nil), msg...))
	var control []byte
	if c := b.in[i].Control; c != nil {
		control = append(control, b.slots[i].control[:b.in[i].Controllen]...)
		anyInterface(control)
	}
	s.work.Go(func() {
		defer s.cfg.Forward.release(client.Addr())
		// Where this is lost the client asks again.
		_, _, _ = u.conn.WriteMsgUDPAddrPort(s.record(own, s.cfg.Forward.Answer(ctx, own)), control, client)
	})
}
