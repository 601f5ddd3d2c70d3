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

// upstreams is the list of resolvers for names outside our zones, in the order in which they are asked. The
// administrator's order has a meaning, for example the company's own resolver before a public one.
type upstreams struct {
	path string // the resolv.conf that names them; "" if they are fixed

	mu      sync.Mutex
	known   []*upstream
	checked time.Time
	changed time.Time // modification time of the file when it was read
}

// resolvConfEvery is how often to check whether the file has changed, for laptops that move between networks.
const resolvConfEvery = 2 * time.Second

func newUpstreams(fixed []netip.AddrPort, path string) *upstreams {
	u := &upstreams{path: path}
	if len(fixed) > 0 {
		u.path = ""
		u.set(fixed)
	}
	return u
}

// order returns the upstreams in the order in which to ask them: the configured order, with those that are
// down last, without our own addresses. changed reports whether the upstreams changed since the last call.
func (u *upstreams) order(own []netip.AddrPort) (ordered []*upstream, changed bool) {
	u.mu.Lock()
	if now := time.Now(); u.path != "" && now.Sub(u.checked) >= resolvConfEvery {
		u.checked = now
		changed = u.read()
	}
	var down []*upstream
	for _, up := range u.known {
		switch {
		case isOwn(up.addr, own):
		case up.isDown():
			down = append(down, up)
		default:
			ordered = append(ordered, up)
		}
	}
	u.mu.Unlock()
	return append(ordered, down...), changed
}

// read reads the file if it has changed, and reports whether the upstreams changed.
func (u *upstreams) read() bool {
	info, err := os.Stat(u.path)
	if err != nil || info.ModTime().Equal(u.changed) {
		return false
	}
	text, err := os.ReadFile(u.path)
	if err != nil {
		return false
	}
	u.changed = info.ModTime()
	return u.set(parseResolvConf(text))
}

// set replaces the upstreams and keeps the state of those that stay.
func (u *upstreams) set(addrs []netip.AddrPort) bool {
	before := u.known
	u.known = nil
	for _, addr := range addrs {
		is := func(up *upstream) bool { return up.addr == addr }
		if slices.ContainsFunc(u.known, is) {
			continue
		}
		if i := slices.IndexFunc(before, is); i >= 0 {
			u.known = append(u.known, before[i])
		} else {
			u.known = append(u.known, &upstream{addr: addr})
		}
	}
	return !slices.Equal(before, u.known)
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
			if addr.IsUnspecified() { // resolvers take it to mean this machine
				addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			}
			ups = append(ups, netip.AddrPortFrom(addr.Unmap(), 53))
		}
	}
	return ups
}

// isOwn reports whether we listen on an address; a wildcard listens on all of the machine's addresses.
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
