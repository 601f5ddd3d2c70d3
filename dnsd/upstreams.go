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

// upstreams are the resolvers that are asked for names that are not ours, in the order in which they are
// asked: an administrator's order has a meaning, for example the company's own resolver before a public one.
type upstreams struct {
	path string // the resolv.conf that names them; "" where they are fixed

	mu      sync.Mutex
	known   []*upstream
	checked time.Time
	changed time.Time // the file's modification time when it was read
}

// A laptop moves between networks: how often to see whether the file has changed.
const resolvConfEvery = 2 * time.Second

func newUpstreams(fixed []netip.AddrPort, path string) *upstreams {
	u := &upstreams{path: path}
	if len(fixed) > 0 {
		u.path = ""
		u.set(fixed)
	}
	return u
}

// order returns whom to ask, one after the other: the configured order, but those that are down come last.
// Addresses of our own are left out. changed is true where there are other upstreams than at the last call.
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

// read reads the file if it has changed, and reports whether it names other upstreams now.
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

// set replaces the upstreams; what is known of one that stays is kept.
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
