package dnsd

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize = 32   // messages per system call
	maxQuery  = 2048 // bytes; longer queries count as malformed
)

// udpSocket reads and writes messages in batches, because at high rates system calls are most of the cost of
// a query. For the same reason its reader blocks in the kernel instead of in Go's poller, which at a moderate
// rate costs as much as the query itself.
type udpSocket struct {
	fd   int
	addr netip.AddrPort
	// wildcard: answer from the address that the client asked, which is in the control message.
	wildcard bool
}

func newUDPSocket(sockets Sockets, addr netip.AddrPort) (*udpSocket, error) {
	conn, err := sockets.ListenUDP(family("udp", addr), addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close() // removes the socket from Go's poller; the copied descriptor stays open
	// Room for a burst while the reader is busy; the kernel may grant less.
	_ = conn.SetReadBuffer(1 << 20)
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	u := &udpSocket{fd: -1, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), wildcard: addr.Addr().IsUnspecified()}
	var failed error
	err = raw.Control(func(fd uintptr) {
		u.fd, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	if err := u.prepare(); err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

func (u *udpSocket) prepare() error {
	if err := unix.SetNonblock(u.fd, false); err != nil {
		return err
	}
	if !u.wildcard {
		return nil
	}
	v4 := unix.SetsockoptInt(u.fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	v6 := unix.SetsockoptInt(u.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	if v4 != nil && v6 != nil {
		return errors.Join(v4, v6)
	}
	return nil
}

// wake ends the reader's wait with an empty message. shutdown(2) would also end the socket for the next
// process that inherits it.
func (u *udpSocket) wake() {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(u.addr))
	if err == nil {
		_, err = conn.Write(nil)
		conn.Close()
	}
	if err != nil {
		u.shutdownRead()
	}
}

// shutdownRead ends the reader's wait by shutdown(2), which returns ENOTCONN and works nevertheless.
func (u *udpSocket) shutdownRead() { _ = unix.Shutdown(u.fd, unix.SHUT_RD) }

// close closes the socket. Nobody may be reading or writing any more.
func (u *udpSocket) close() { unix.Close(u.fd) }

// mmsghdr is the element type of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	n uint32
	_ [unsafe.Sizeof(uintptr(0)) - 4]byte
}

// batch is the memory of one reader, reused for every system call.
type batch struct {
	in, out  []mmsghdr
	slots    []slot
	received int // the headers in[:received] have the lengths of received messages
	replies  int
}

type slot struct {
	control [128]byte // first, because its headers must be aligned
	query   [maxQuery]byte
	answer  [maxUDP]byte
	from    unix.RawSockaddrInet6
	qv, av  unix.Iovec
}

func newBatch(wildcard bool) *batch {
	b := &batch{in: make([]mmsghdr, batchSize), out: make([]mmsghdr, batchSize), slots: make([]slot, batchSize), received: batchSize}
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

// receive waits for messages and returns how many it received.
func (b *batch) receive(fd int) (int, syscall.Errno) {
	for i := range b.in[:b.received] {
		b.in[i].Namelen = unix.SizeofSockaddrInet6
		if b.in[i].Control != nil {
			b.in[i].SetControllen(len(b.slots[i].control))
		}
	}
	n, _, errno := syscall.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.in[0])), uintptr(len(b.in)), unix.MSG_WAITFORONE, 0, 0)
	b.received = max(int(n), 0)
	return int(n), errno
}

// message returns the i-th received message and its sender.
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
		clearInterface(s.control[:out.Controllen])
	}
	b.replies++
}

// send sends the queued answers from index from on and returns how many were sent.
func (b *batch) send(fd, from int) (int, syscall.Errno) {
	n, _, errno := syscall.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.out[from])), uintptr(b.replies-from), 0, 0, 0)
	return int(n), errno
}

// replyPath is the destination of an answer that is sent after its batch.
type replyPath struct {
	to      unix.RawSockaddrInet6
	header  unix.Msghdr
	control [128]byte
}

func (b *batch) replyPath(i int) *replyPath {
	w := &replyPath{to: b.slots[i].from, control: b.slots[i].control, header: b.in[i].Msghdr}
	w.header.Name = (*byte)(unsafe.Pointer(&w.to))
	if w.header.Control != nil {
		w.header.Control = &w.control[0]
		clearInterface(w.control[:w.header.Controllen])
	}
	return w
}

// send sends the answer. Errors are ignored: the client will ask again.
func (w *replyPath) send(fd int, answer []byte) {
	v := unix.Iovec{Base: &answer[0]}
	v.SetLen(len(answer))
	w.header.Iov = &v
	_, _, _ = syscall.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&w.header)), 0)
	runtime.KeepAlive(w)
}

// clearInterface removes the interface from the control messages of a received packet and keeps its local
// address, so that the routing table chooses the interface of the answer. Link-local IPv6 keeps the interface.
func clearInterface(control []byte) {
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
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), fromNetworkOrder(v4.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(from.Addr), fromNetworkOrder(from.Port))
}

// fromNetworkOrder converts a port to the machine's byte order.
func fromNetworkOrder(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}
