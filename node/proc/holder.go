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

// Unknown describes a holder that /proc does not name.
const Unknown = "another process"

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
