package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/protoduction/micro/cloud"
)

func TestWhoReachesWhom(t *testing.T) {
	for _, bridged := range []string{"0", "1"} {
		t.Run("br_netfilter="+bridged, func(t *testing.T) {
			// The kernel may lack the module; then there is no difference to test.
			if err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte(bridged), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			reach(t)
		})
	}
}

func reach(t *testing.T) {
	n := testNetwork(t, "a", "10.60.0.0/24")
	a1, a2, b := attach(t, n, "a1", 0), attach(t, n, "a2", 0), attach(t, n, "b", 1)
	sandbox, err := n.NewSandbox(t.Context(), "build")
	if err != nil {
		t.Fatal(err)
	}
	s := at(t, Endpoint{NetNS: sandbox.NetNS, IP: sandbox.IP})
	h, out := host(t), place{t, outside, farAddr}
	gw := n.Gateway()
	for _, p := range []place{a1, a2, b, s, h, out} {
		for _, port := range []uint16{53, 80, 443, 8080} {
			p.listen(port)
		}
	}
	const no = ""
	for _, c := range []struct {
		name  string
		from  place
		proto string
		to    netip.Addr
		port  uint16
		seen  string
	}{
		{"same group", a1, "tcp", a2.IP, 8080, a1.IP.String()},
		{"same group, udp", a1, "udp", a2.IP, 8080, a1.IP.String()},
		{"another group", a1, "tcp", b.IP, 8080, no},
		{"another group, udp", b, "udp", a1.IP, 8080, no},
		{"host to container", h, "tcp", b.IP, 8080, gw.String()},
		{"container to itself", b, "tcp", b.IP, 8080, b.IP.String()},
		{"gateway's DNS", a1, "udp", gw, 53, a1.IP.String()},
		{"gateway's DNS, tcp", a1, "tcp", gw, 53, a1.IP.String()},
		{"gateway's HTTP", b, "tcp", gw, 80, b.IP.String()},
		{"gateway's HTTP, udp", b, "udp", gw, 80, no},
		{"gateway, another port", a1, "tcp", gw, 8080, no},
		{"gateway's HTTPS", a1, "tcp", gw, 443, a1.IP.String()},
		{"gateway's HTTPS, udp", a1, "udp", gw, 443, no},
		{"host's own address", a1, "tcp", hostAddr, 80, no},
		{"host's own address, DNS", a1, "udp", hostAddr, 53, no},
		{"outside", a1, "tcp", farAddr, 8080, hostAddr.String()},
		{"outside, udp", b, "udp", netip.MustParseAddr("192.0.2.1"), 8080, hostAddr.String()},
		{"metadata", a1, "tcp", linkLocal, 80, no},
		{"metadata elsewhere", a1, "tcp", wireServer, 80, no},
		{"metadata, from the host", h, "tcp", linkLocal, 80, hostAddr.String()},
		{"metadata elsewhere, from the host", h, "tcp", wireServer, 80, hostAddr.String()},
		{"sandbox to outside", s, "tcp", farAddr, 443, hostAddr.String()},
		{"sandbox to DNS", s, "udp", gw, 53, s.IP.String()},
		{"sandbox to HTTP of the gateway", s, "tcp", gw, 80, no},
		{"sandbox to HTTPS of the gateway", s, "tcp", gw, 443, no},
		{"sandbox to host", s, "tcp", hostAddr, 80, no},
		{"sandbox to container", s, "tcp", a1.IP, 8080, no},
		{"sandbox to metadata", s, "tcp", linkLocal, 80, no},
		{"container to sandbox", a1, "tcp", s.IP, 8080, no},
	} {
		if got := c.from.answer(c.seen, c.proto, c.to, c.port); got != c.seen {
			t.Errorf("%s: seen as %q, not %q", c.name, got, c.seen)
		}
	}
	nobody := netip.MustParseAddr("10.60.0.254")
	for slices.Contains([]netip.Addr{a1.IP, a2.IP, b.IP, s.IP}, nobody) {
		nobody = nobody.Prev()
	}
	inside(t, a1.ns, func() error {
		c, err := net.DialTimeout("tcp4", netip.AddrPortFrom(nobody, 80).String(), 10*time.Second)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, unix.EHOSTUNREACH) {
			t.Errorf("an address that nobody has: %v", err)
		}
		return nil
	})

	// An outside host that routes the containers' network to us, or forges an address in it.
	oh, err := netlink.NewHandleAt(outside)
	if err != nil {
		t.Fatal(err)
	}
	defer oh.Close()
	route := &netlink.Route{Dst: ipNet(n.Subnet()), Gw: hostAddr.AsSlice()}
	if err := oh.RouteAdd(route); err != nil {
		t.Fatal(err)
	}
	if got := out.ask("tcp", a1.IP, 8080); got != no {
		t.Errorf("outside to container: seen as %q", got)
	}
	if got := out.ask("tcp", gw, 80); got != no {
		t.Errorf("outside to gateway: seen as %q", got)
	}
	if err := oh.RouteDel(route); err != nil {
		t.Fatal(err)
	}
	spoof(t, a1, a2, b, gw)
	if err := sandbox.Close(); err != nil {
		t.Error(err)
	}
}

// spoof makes a container send with a forged address, as if it had the privileges to.
func spoof(t *testing.T, a1, a2, b place, gw netip.Addr) {
	t.Helper()
	h, err := netlink.NewHandleAt(b.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	eth, err := h.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	// The forged packets must arrive nowhere: count them where they would arrive.
	seen := make(chan string, 10)
	inside(t, a2.ns, func() error {
		u, err := listenUDP(9999)
		if err != nil {
			return err
		}
		t.Cleanup(func() { u.Close() })
		go func() {
			p := make([]byte, 10)
			for {
				if _, from, err := u.ReadFrom(p); err != nil {
					return
				} else {
					seen <- from.String()
				}
			}
		}()
		return nil
	})
	if err := h.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a1.IP, 32))}); err != nil {
		t.Fatal(err)
	}
	b.askFrom(a1.IP, "udp", a2.IP, 9999)
	b.askFrom(a1.IP, "udp", gw, 53)
	select {
	case from := <-seen:
		t.Errorf("%s got through from another group", from)
	default:
	}
	if a1.askFrom(a1.IP, "udp", a2.IP, 9999); !comes(seen) {
		t.Error("and the real one did not")
	}
}

func TestRestart(t *testing.T) {
	before := hostState(t)
	n := testNetwork(t, "a", "")
	if n.Subnet() != netip.MustParsePrefix("10.88.0.0/20") {
		t.Errorf("chosen: %s", n.Subnet())
	}
	a, b := attach(t, n, "a", 1), attach(t, n, "b", 1)
	if _, err := n.Reserve("half", 1, Access{}); err != nil {
		t.Fatal(err)
	}
	if err := n.Attach(t.Context(), "half"); err != nil {
		t.Fatal(err)
	}
	a.listen(80)

	// The next process adopts two containers, uses the same subnet, and leaves no gap in the rules.
	again, err := Open(testConfig(t, "a", ""))
	if err != nil {
		t.Fatal(err)
	}
	if again.Subnet() != n.Subnet() {
		t.Errorf("chosen after a restart: %s", again.Subnet())
	}
	broken, err := again.Sync([]Endpoint{{ID: "a", Tenant: 1, IP: a.IP}, {ID: "b", Tenant: 1, IP: b.IP}})
	if err != nil || len(broken) != 0 {
		t.Fatal(broken, err)
	}
	if got := b.answer(b.IP.String(), "tcp", a.IP, 80); got != b.IP.String() {
		t.Errorf("after a restart: %q", got)
	}
	if links, err := again.links(); err != nil || len(links) != 2 {
		t.Errorf("links: %d, %v", len(links), err)
	}
	for _, id := range []string{"a", "b", "never"} {
		if err := again.Detach(id); err != nil {
			t.Error(err)
		}
	}
	if pins, err := os.ReadDir(again.cfg.State); err != nil || len(pins) != 0 {
		t.Errorf("pins: %v, %v", pins, err)
	}
	if err := again.Destroy(); err != nil {
		t.Error(err)
	}
	if after := hostState(t); after != before {
		t.Errorf("the host is not as it was:\n%s\nwas:\n%s", after, before)
	}
}

// hostState returns everything on the host that a Network may change.
func hostState(t *testing.T) string {
	t.Helper()
	var s strings.Builder
	links, err1 := netlink.LinkList()
	for _, l := range links {
		s.WriteString(l.Attrs().Name + "\n")
	}
	addrs, err2 := netlink.AddrList(nil, unix.AF_INET)
	for _, a := range addrs {
		s.WriteString(a.String() + "\n")
	}
	routes, err3 := netlink.RouteList(nil, unix.AF_INET)
	for _, r := range routes {
		s.WriteString(r.String() + "\n")
	}
	c, err4 := nftables.New()
	tables, err5 := c.ListTables()
	for _, x := range tables {
		s.WriteString(x.Name + "\n")
	}
	forward, err6 := os.ReadFile(forwardFile)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		t.Fatal(err)
	}
	return s.String() + string(forward)
}

func TestTwoNodes(t *testing.T) {
	before := hostState(t)
	a, b := testNetwork(t, "a", ""), testNetwork(t, "b", "")
	if a.Subnet() == b.Subnet() {
		t.Fatalf("both have %s", a.Subnet())
	}
	pa, pb := attach(t, a, "x", 1), attach(t, b, "x", 1)
	pb.listen(80)
	if got := pa.ask("tcp", pb.IP, 80); got != "" {
		t.Errorf("a container of one node to one of another: seen as %q", got)
	}
	if err := a.Destroy(); err != nil {
		t.Error(err)
	}
	out := place{t, outside, farAddr}
	out.listen(80)
	if got := pb.answer(hostAddr.String(), "tcp", farAddr, 80); got != hostAddr.String() {
		t.Errorf("with the other node down: seen as %q", got)
	}
	if err := b.Destroy(); err != nil {
		t.Error(err)
	}
	if after := hostState(t); after != before {
		t.Errorf("the host is not as it was:\n%s\nwas:\n%s", after, before)
	}
}

func TestRepair(t *testing.T) {
	n := testNetwork(t, "a", "10.60.0.0/24")
	a, b := attach(t, n, "a", 1), attach(t, n, "b", 1)
	n.Running("a", os.Getpid()) // another namespace, but it shows that the pin is restored
	a.listen(80)
	works := func(when string) {
		t.Helper()
		if got := b.answer(b.IP.String(), "tcp", a.IP, 80); got != b.IP.String() {
			t.Errorf("%s: %q", when, got)
		}
	}
	works("before")
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	c.FlushRuleset()
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if n.intact() {
		t.Error("a flushed table looks whole")
	}
	if err := n.Repair(); err != nil || !n.intact() {
		t.Errorf("repair: %v", err)
	}
	works("table flushed")
	l, err := netlink.LinkByName(n.link("b"))
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(l); err != nil {
		t.Fatal(err)
	}
	if broken := n.mend(); len(broken) != 0 {
		t.Error(broken)
	}
	works("link deleted")
	l, err = netlink.LinkByName(n.link("b"))
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(l); err != nil {
		t.Fatal(err)
	}
	if broken := n.mend(); len(broken) != 0 {
		t.Error(broken)
	}
	works("link down")
	lo, err := netlink.LinkByIndex(loopbackIndex)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrDel(lo, n.gatewayAddr()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(forwardFile, []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := n.Repair(); err != nil {
		t.Error(err)
	}
	if broken := n.mend(); len(broken) != 0 { // the kernel deletes the routes with the removed address
		t.Error(broken)
	}
	works("gateway and forwarding taken away")
	if err := unpin(n.endpoints["b"].NetNS); err != nil {
		t.Fatal(err)
	}
	if broken := n.mend(); len(broken) != 1 || broken["b"] == nil {
		t.Errorf("namespace gone, and nobody in it: %v", broken)
	}
}

func TestObstacle(t *testing.T) {
	n := testNetwork(t, "a", "10.60.0.0/24")
	if err := n.Obstacle(); err != nil {
		t.Errorf("none: %v", err)
	}
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	drop := nftables.ChainPolicyDrop
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "filter"})
	c.AddChain(&nftables.Chain{
		Name: "FORWARD", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop,
	})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	err = n.Obstacle()
	if err == nil || !strings.Contains(err.Error(), "FORWARD") || !strings.Contains(cloud.HintOf(err), n.prefix+"+") {
		t.Errorf("%v, hint %q", err, cloud.HintOf(err))
	}
	c.DelTable(table)
	if err := c.Flush(); err != nil {
		t.Error(err)
	}
}

// TestTenant checks that the tenant of an address is known before a process can use the address, and as long
// as one might.
func TestTenant(t *testing.T) {
	n := testNetwork(t, "a", "10.60.0.0/24")
	f := func(when string, ip netip.Addr, want uint32, known bool) {
		t.Helper()
		if got, ok := n.Tenant(ip); got != want || ok != known {
			t.Errorf("%s: %s is of %d, %v; want %d, %v", when, ip, got, ok, want, known)
		}
	}
	ep, err := n.Reserve("a1", 7, Access{})
	if err != nil {
		t.Fatal(err)
	}
	f("reserved", ep.IP, 7, true)
	if err := n.Attach(t.Context(), "a1"); err != nil {
		t.Fatal(err)
	}
	f("attached", ep.IP, 7, true)
	if _, err := n.Sync([]Endpoint{ep}); err != nil {
		t.Fatal(err)
	}
	f("found again", ep.IP, 7, true)
	if err := n.Detach("a1"); err != nil {
		t.Fatal(err)
	}
	f("gone", ep.IP, 0, false)
	f("never given out", netip.MustParseAddr("10.60.0.200"), 0, false)
}

func TestVanishedRoute(t *testing.T) {
	for index, want := range map[int]bool{0: false, loopbackIndex: false, 1 << 30: true} {
		if got := vanished(netlink.Route{LinkIndex: index}); got != want {
			t.Errorf("route by link %d: %v", index, got)
		}
	}
}

func TestRunEndsAndRepairs(t *testing.T) {
	n := testNetwork(t, "a", "10.60.0.0/24")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- n.Run(ctx, func(id string, err error) { t.Error(id, err) }) }()
	if err := n.removeTable(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		n.mu.Lock()
		whole := n.intact()
		n.mu.Unlock()
		if whole {
			break
		}
		if time.Since(begin) > time.Minute {
			t.Fatal("no table after a minute")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSubnets(t *testing.T) {
	for subnet, want := range map[string]struct {
		code cloud.Code
		text string
	}{
		"192.0.2.128/25": {cloud.Conflict, "up0"},
		"192.0.0.0/16":   {cloud.Conflict, "192.0.2.2/24"},
		"127.0.0.0/24":   {cloud.Conflict, "127.0.0.1/8"},
		"10.60.0.0/30":   {cloud.Invalid, "/29"},
		"10.60.0.1/24":   {cloud.Invalid, "10.60.0.1/24"},
		"fd00::/64":      {cloud.Invalid, "IPv4"},
	} {
		before := hostState(t)
		_, err := Open(testConfig(t, "a", subnet))
		if cloud.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v", subnet, err)
		}
		if want.code == cloud.Conflict && cloud.HintOf(err) == "" {
			t.Errorf("%s: no hint", subnet)
		}
		if hostState(t) != before {
			t.Errorf("%s: the host is not as it was", subnet)
		}
	}
	n := testNetwork(t, "a", "10.60.0.0/29")
	for range 5 {
		if _, err := n.Reserve(filepath.Base(t.TempDir()), 0, Access{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := n.Reserve("one too many", 0, Access{}); cloud.CodeOf(err) != cloud.Unavailable {
		t.Errorf("full: %v", err)
	}
}

func TestAddressesComeUpAgainLate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(20, 29).Draw(t, "bits")
		p := netip.PrefixFrom(netip.MustParseAddr("10.60.0.0"), bits)
		size := 1<<(32-bits) - 3
		used, order := map[netip.Addr]bool{}, []netip.Addr{}
		at := randomAddr(p)
		for range size {
			ip, ok := nextFree(p, at, used)
			if !ok || !p.Contains(ip) || ip == gateway(p) || ip == p.Addr() || ip == last(p) || used[ip] {
				t.Fatalf("%s after %s, %d used", ip, at, len(used))
			}
			used[ip], at = true, ip
			order = append(order, ip)
		}
		if _, ok := nextFree(p, at, used); ok {
			t.Fatal("more than there are")
		}
		// Of two free addresses, the one that was assigned longer ago comes first.
		delete(used, order[0])
		delete(used, order[len(order)-1])
		if ip, _ := nextFree(p, at, used); ip != order[0] && size > 1 {
			t.Fatalf("%s, not %s", ip, order[0])
		}
	})
}

func TestBase(t *testing.T) {
	if Base(0) != 1<<20 || Base(1) != 1<<20+1<<16 {
		t.Error(Base(0), Base(1))
	}
	if top := uint64(Base(MaxTenant)) + Range; top > 1<<32-1 {
		t.Errorf("the last range ends at %d", top)
	}
}

// TestDetachWhileMending checks that removing a container's network is not reported as a change by another program.
func TestDetachWhileMending(t *testing.T) {
	var out strings.Builder
	n := testNetwork(t, "mend", "10.60.64.0/24")
	n.log = slog.New(slog.NewTextHandler(&out, nil))
	ctx, stop := context.WithCancel(t.Context())
	var mender sync.WaitGroup
	mender.Go(func() {
		for ctx.Err() == nil {
			for id, err := range n.mend() {
				t.Errorf("%s is said to be broken: %v", id, err)
			}
		}
	})
	for i := range 40 {
		s, err := n.NewSandbox(ctx, fmt.Sprintf("s%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	stop()
	mender.Wait()
	if out.Len() > 0 {
		t.Error(out.String())
	}
	if left, err := n.links(); err != nil || len(left) > 0 {
		t.Errorf("links are left: %d, %v", len(left), err)
	}
}

// TestLeaving checks that a leaving node removes its network even if a new one could not be made: because of a VPN with
// the same network, or changed settings.
func TestLeaving(t *testing.T) {
	before := hostState(t)
	n := testNetwork(t, "a", "10.60.0.0/24")
	attach(t, n, "a1", 0)
	lo, err := netlink.LinkByIndex(loopbackIndex)
	if err != nil {
		t.Fatal(err)
	}
	vpn := &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.60.0.77/32")), Label: "lo:vpn"}
	if err := netlink.AddrAdd(lo, vpn); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testConfig(t, "a", "10.60.0.0/24")); cloud.CodeOf(err) != cloud.Conflict {
		t.Errorf("a new start: %v", err)
	}
	var leaving *Network
	for _, subnet := range []string{"10.60.0.0/24", "", "192.0.2.128/25"} {
		c := testConfig(t, "a", subnet)
		c.Leaving = true
		if leaving, err = Open(c); err != nil || leaving.Subnet() != n.Subnet() {
			t.Fatalf("%q: %v", subnet, err)
		}
	}
	if err := leaving.Destroy(); err != nil {
		t.Error(err)
	}
	if err := netlink.AddrDel(lo, vpn); err != nil {
		t.Fatal(err)
	}
	if hostState(t) != before {
		t.Errorf("the host is not as it was:\n%s\nbut\n%s", before, hostState(t))
	}
}
