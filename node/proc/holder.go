package proc

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Holder describes the process that keeps an address of a protocol ("tcp" or "udp") from being bound, as far
// as /proc tells.
func Holder(protocol string, addr netip.AddrPort) string {
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
				return Name(pid)
			}
		}
	}
	return Unknown
}

// Unknown is the name of a process that /proc does not show.
const Unknown = "another process"

// socketsOn returns the inodes of sockets that use an address, from a table in /proc/net (proc(5)); with listening,
// only listening sockets. A socket on all addresses uses each address.
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
		bound, ok := procAddr(fields[1])
		if ok && bound.Port() == addr.Port() && (bound.Addr() == addr.Addr() || bound.Addr().IsUnspecified() || addr.Addr().IsUnspecified()) {
			inodes = append(inodes, fields[9])
		}
	}
	return slices.Compact(inodes)
}

// procAddr parses an address in the format of proc(5): words of four bytes in the machine's byte order, in hex.
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
