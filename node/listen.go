package node

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/protoduction/micro/cloud"
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// defaultHTTP are the addresses that the router is tried at where none was asked for.
func defaultHTTP() []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(loopback, 80), netip.AddrPortFrom(loopback, 8080)}
}

// listenTCP binds an address, and names the holder of one that is taken.
func (n *Node) listenTCP(what string, a netip.AddrPort) (net.Listener, error) {
	network := "tcp4"
	if a.Addr().Is6() {
		network = "tcp6"
	}
	ln, err := n.sockets.ListenTCP(network, a)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, cloud.Errorf(cloud.Conflict, "%s: port %d of %s is taken by %s", what, a.Port(), a.Addr(), holder("tcp", a)).
			WithHint("choose another with --%s %s", what, netip.AddrPortFrom(a.Addr(), 8081))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, cloud.Errorf(cloud.Invalid, "%s: this machine has no address %s", what, a.Addr()).WithHint("ip -brief address")
	}
	return nil, cloud.Errorf(cloud.Unavailable, "%s: cannot listen on %s: %w", what, a, err)
}

// holder names the process that keeps an address of a protocol ("tcp" or "udp") from being bound, as far
// as /proc tells.
func holder(protocol string, addr netip.AddrPort) string {
	inodes := map[string]bool{}
	for _, table := range []string{protocol, protocol + "6"} {
		for _, inode := range socketsOn("/proc/net/"+table, protocol == "tcp", addr) {
			inodes["socket:["+inode+"]"] = true
		}
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err == nil && inodes[link] {
			pid, err := strconv.Atoi(strings.Split(fd, "/")[2])
			if err == nil {
				return processName(pid)
			}
		}
	}
	return somebody
}

// somebody has a port, and /proc does not tell who.
const somebody = "another process"

// dnsTaken names the holder of an address of the DNS server's that is taken. That at the gateway can't be
// chosen: containers ask there.
func dnsTaken(err error, addrs []netip.AddrPort, gateway netip.Addr) error {
	if cloud.CodeOf(err) != cloud.Conflict {
		return err
	}
	for _, a := range addrs {
		for _, protocol := range []string{"udp", "tcp"} {
			if who := holder(protocol, a); who != somebody {
				taken := cloud.Errorf(cloud.Conflict, "dns: port %d of %s is taken by %s", a.Port(), a.Addr(), who)
				if a.Addr() == gateway {
					return taken.WithHint("containers ask the node there: have the other one listen on its own addresses instead of all")
				}
				return taken.WithHint("choose another with --dns %s", netip.AddrPortFrom(a.Addr(), 5355))
			}
		}
	}
	return err
}

// socketsOn returns the inodes of sockets that share an address, in a table as in proc(5): listening ones
// for TCP. A socket on every address shares each.
func socketsOn(table string, listening bool, addr netip.AddrPort) (inodes []string) {
	f, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer f.Close()
	const listen = "0A"
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 10 || listening && fields[3] != listen {
			continue
		}
		at, ok := procAddr(fields[1])
		if ok && at.Port() == addr.Port() && (at.Addr() == addr.Addr() || at.Addr().IsUnspecified() || addr.Addr().IsUnspecified()) {
			inodes = append(inodes, fields[9])
		}
	}
	return slices.Compact(inodes)
}

// procAddr reads an address as proc(5) has it: words of four bytes in the machine's order, in hex.
func procAddr(s string) (netip.AddrPort, bool) {
	ip, port, _ := strings.Cut(s, ":")
	b, err1 := hex.DecodeString(ip)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if err1 != nil || err2 != nil {
		return netip.AddrPort{}, false
	}
	for i := 0; i+4 <= len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(p)), ok
}

// listenSocket binds the API's socket for root and the group micro, where that exists.
func listenSocket(path string, gid int) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("cannot replace the API's socket: %w", err)
	}
	// The folder is open to look into, so the socket must never be there with a looser mode.
	old := syscall.Umask(0o177)
	ln, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "cannot listen on %s: %w", path, err)
	}
	if gid >= 0 {
		if err := errors.Join(os.Chown(path, 0, gid), os.Chmod(path, 0o660)); err != nil {
			ln.Close()
			return nil, fmt.Errorf("cannot open the API's socket to group micro: %w", err)
		}
	}
	return ln, nil
}
