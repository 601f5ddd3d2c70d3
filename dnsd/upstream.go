package dnsd

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// servers are the resolvers to ask.
type servers struct {
	fixed []netip.AddrPort // where given, path is not read
	path  string           // a resolv.conf

	mu      sync.Mutex
	known   []netip.AddrPort // the one to ask first stands first
	checked time.Time
	changed time.Time // the file's time stamp when it was read
}

// A laptop moves between networks: how often to look whether the file has changed.
const resolvConfEvery = 2 * time.Second

// list returns whom to ask, in order, our own addresses left out.
func (s *servers) list(own []netip.AddrPort) []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.checked) >= resolvConfEvery {
		s.checked = now
		s.read()
	}
	return slices.DeleteFunc(slices.Clone(s.known), func(up netip.AddrPort) bool { return isOwn(up, own) })
}

// read reads the file if it has changed.
func (s *servers) read() {
	if len(s.fixed) > 0 {
		if s.known == nil {
			s.known = slices.Clone(s.fixed)
		}
		return
	}
	info, err := os.Stat(s.path)
	if err != nil || info.ModTime().Equal(s.changed) {
		return
	}
	if text, err := os.ReadFile(s.path); err == nil {
		s.known, s.changed = parseResolvConf(text), info.ModTime()
	}
}

// prefer moves one that answered to the front.
func (s *servers) prefer(up netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.known, up); i > 0 {
		s.known = append([]netip.AddrPort{up}, slices.Delete(slices.Clone(s.known), i, i+1)...)
	}
}

// parseResolvConf returns the name servers of a resolv.conf(5).
func parseResolvConf(text []byte) []netip.AddrPort {
	var ups []netip.AddrPort
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil {
			if addr.IsUnspecified() { // by tradition this machine
				addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			}
			ups = append(ups, netip.AddrPortFrom(addr.Unmap(), 53))
		}
	}
	return ups
}

// isOwn reports whether an address is one that we listen on; a wildcard listens on all of the machine's.
func isOwn(up netip.AddrPort, own []netip.AddrPort) bool {
	for _, o := range own {
		if o.Port() != up.Port() {
			continue
		}
		if o.Addr() == up.Addr() || o.Addr().IsUnspecified() && isLocal(up.Addr()) {
			return true
		}
	}
	return false
}

func isLocal(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().WithZone("") == addr.WithZone("")
	})
}
