package network

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/protoduction/micro/cloud"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lockForever() { runtime.LockOSThread() }

func newReader(b []byte) io.Reader { return bytes.NewReader(b) }

// cluster is some machines and what they are told of each other.
type cluster struct {
	machines []*machine
	mode     cloud.OverlayMode
	world    world
}

func newCluster(t *testing.T, mode cloud.OverlayMode, mtu int) *cluster {
	t.Helper()
	connect := newLAN(t, mtu)
	c := &cluster{mode: mode}
	for k := range 3 {
		c.machines = append(c.machines, newMachine(t, connect, cloud.NodeName(fmt.Sprintf("n%d", k)), fmt.Sprintf("198.51.100.%d/24", 10+k), fmt.Sprintf("10.88.%d.0/22", 4*k)))
	}
	for k, m := range c.machines {
		c.world.Nodes = append(c.world.Nodes, &cloud.Node{
			Name: m.name, Addr: netip.AddrPortFrom(m.host.IP, 7443), Subnet: netip.MustParsePrefix(fmt.Sprintf("10.88.%d.0/22", 4*k)),
			Overlay: cloud.Overlay{Mode: mode, Key: m.key, Port: m.port},
		})
	}
	for g := range uint32(2) {
		c.world.Groups = append(c.world.Groups, &cloud.Group{Name: cloud.GroupName(fmt.Sprintf("g%d", g)), Number: g})
	}
	return c
}

// start starts a container of a group that all machines get to know.
func (c *cluster) start(k int, id string, group uint32) place {
	return c.startWith(k, id, group, Access{})
}

// startWith starts a container that is a service, or is bound to some.
func (c *cluster) startWith(k int, id string, group uint32, a Access) place {
	m := c.machines[k]
	p := m.placeOf(m.do(order{Attach: id, Group: group, Access: a}))
	if a.Service != "" {
		c.world.Services = append(c.world.Services, cloud.AppRef{Group: cloud.GroupName(fmt.Sprintf("g%d", group)), App: cloud.AppName(id)})
	}
	c.world.Instances = append(c.world.Instances, &cloud.Instance{
		ID:   cloud.InstanceID(id),
		Slot: cloud.Slot{ReleaseRef: cloud.AppRef{Group: cloud.GroupName(fmt.Sprintf("g%d", group)), App: cloud.AppName(id)}.Release(1), Process: cloud.Web},
		Node: c.machines[k].name, Phase: cloud.InstanceReady, Addr: netip.AddrPortFrom(p.IP, 8080),
	})
	return p
}

// tell tells all machines what there is.
func (c *cluster) tell() {
	for _, m := range c.machines {
		m.do(order{View: &c.world})
	}
}

func TestWhoReachesWhomOnOtherNodes(t *testing.T) {
	for _, mode := range cloud.OverlayModes() {
		t.Run(string(mode), func(t *testing.T) { reachAcross(t, mode) })
	}
}

func reachAcross(t *testing.T, mode cloud.OverlayMode) {
	c := newCluster(t, mode, 1500)
	n0, n1 := c.machines[0], c.machines[1]
	a0, a1, a2, b1 := c.start(0, "a0", 0), c.start(1, "a1", 0), c.start(2, "a2", 0), c.start(1, "b1", 1)
	c.tell()
	once := n0.attach("once", 0) // a container for a single command, which only its node knows
	sandbox := n1.placeOf(n1.do(order{Sandbox: "build"}))
	gw0, gw1 := netip.MustParseAddr("10.88.0.1"), netip.MustParseAddr("10.88.4.1")
	for _, p := range []place{a0, a1, a2, b1, once, sandbox, n0.host, n1.host} {
		for _, port := range []uint16{22, 53, 80, 443, 8080} {
			p.listen(port)
		}
	}
	const no = ""
	f := func(name string, from place, proto string, to netip.Addr, port uint16, seen string) {
		t.Helper()
		got := from.ask(proto, to, port)
		for range 10 { // WireGuard may have to shake hands first
			if got == seen || seen == no {
				break
			}
			got = from.ask(proto, to, port)
		}
		if got != seen {
			t.Errorf("%s: seen as %q, not %q", name, got, seen)
		}
	}
	f("same group", a0, "tcp", a1.IP, 8080, a0.IP.String())
	f("same group, back", a1, "tcp", a0.IP, 8080, a1.IP.String())
	f("same group, udp", a0, "udp", a2.IP, 8080, a0.IP.String())
	f("third node", a2, "udp", a1.IP, 8080, a2.IP.String())
	f("another group", a0, "tcp", b1.IP, 8080, no)
	f("another group, udp", a0, "udp", b1.IP, 8080, no)
	f("another group, back", b1, "tcp", a0.IP, 8080, no)
	f("a router", n0.host, "tcp", b1.IP, 8080, gw0.String())
	f("a router, back", n1.host, "tcp", a0.IP, 8080, gw1.String())
	f("a single command", once, "tcp", a1.IP, 8080, once.IP.String())
	f("a single command, to another group", once, "tcp", b1.IP, 8080, no)
	f("to a container that is not known", a1, "tcp", once.IP, 8080, no)
	f("sandbox to another node", sandbox, "tcp", a0.IP, 8080, no)
	f("another node to sandbox", a0, "tcp", sandbox.IP, 8080, no)
	f("router to sandbox", n0.host, "udp", sandbox.IP, 8080, gw0.String())
	f("another node's gateway, HTTP", a0, "tcp", gw1, 80, no)
	f("another node's gateway, DNS", a0, "udp", gw1, 53, no)
	f("another node's public HTTP", a0, "tcp", n1.host.IP, 80, n0.host.IP.String())
	f("another node's public HTTPS", a0, "tcp", n1.host.IP, 443, n0.host.IP.String())
	f("another node's ssh", a0, "tcp", n1.host.IP, 22, no)
	f("another node's DNS", a0, "udp", n1.host.IP, 53, no)
	f("own gateway still", a0, "tcp", gw0, 80, a0.IP.String())

	// An address that another group has got is noticed if one of the two nodes knows.
	c.machines[0].do(order{View: &c.world})
	stale := c.world
	stale.Instances = append([]*cloud.Instance(nil), c.world.Instances...)
	for k, i := range stale.Instances {
		if i.ID == "b1" {
			moved := *i
			moved.AppRef.Group = "g0"
			stale.Instances[k] = &moved
		}
	}
	n0.do(order{View: &stale}) // n0 takes b1 for one of group 0
	f("node of the sender is wrong", a0, "tcp", b1.IP, 8080, no)
	n0.do(order{View: &c.world})

	// A service is open to containers that are bound to it, wherever they run and whichever of the two is known first.
	early := n0.placeOf(n0.do(order{Attach: "early", Group: 0, Access: Access{Reaches: []string{"db"}}}))
	db := c.startWith(1, "db", 0, Access{Service: "db"})
	db.listen(5432)
	f("a service that is not known yet", early, "tcp", db.IP, 5432, no)
	c.tell()
	late := n0.placeOf(n0.do(order{Attach: "late", Group: 0, Access: Access{Reaches: []string{"other", "db"}}}))
	other := n0.placeOf(n0.do(order{Attach: "other", Group: 1, Access: Access{Reaches: []string{"db"}}}))
	f("bound before", early, "tcp", db.IP, 5432, early.IP.String())
	f("bound afterwards", late, "tcp", db.IP, 5432, late.IP.String())
	f("not bound", a0, "tcp", db.IP, 5432, no)
	f("not bound, udp", a0, "udp", db.IP, 5432, no)
	f("not bound, on the third node", a2, "tcp", db.IP, 5432, no)
	f("a single command that is not bound", once, "tcp", db.IP, 5432, no)
	f("bound in another group", other, "tcp", db.IP, 5432, no)
	f("a sandbox", sandbox, "tcp", db.IP, 5432, no)
	f("a router to a service", n0.host, "tcp", db.IP, 5432, gw0.String())
	f("a service to the group", db, "tcp", a0.IP, 8080, db.IP.String())
	n0.do(order{Repair: true})
	f("not bound, after a repair", a0, "tcp", db.IP, 5432, no)
	f("bound, after a repair", late, "tcp", db.IP, 5432, late.IP.String())
	n0.do(order{Detach: "late"})
	stays := c.start(0, "stays", 0)
	f("another container afterwards", stays, "tcp", db.IP, 5432, no)
	c.tell()

	forge(t, c, a0, a1)

	// A node that has left is no peer any more, and its instances are not reached.
	c.world.Nodes = c.world.Nodes[:2]
	c.world.Instances = deleteOn(c.world.Instances, "n2")
	c.tell()
	f("a node that stays", a0, "tcp", a1.IP, 8080, a0.IP.String())
	f("a node that left", a0, "tcp", a2.IP, 8080, no)
	f("from a node that left", a2, "tcp", a0.IP, 8080, no)
}

func deleteOn(list []*cloud.Instance, node cloud.NodeName) (rest []*cloud.Instance) {
	for _, i := range list {
		if i.Node != node {
			rest = append(rest, i)
		}
	}
	return rest
}

// forge sends packets with addresses of another node's instances from elsewhere.
func forge(t *testing.T, c *cluster, a0, a1 place) {
	t.Helper()
	// The third node's machine, as if it had been taken over, sends from an address of the first one's slice.
	thief := c.machines[2].host
	h, err := netlink.NewHandleAt(thief.ns)
	check(t, err)
	defer h.Close()
	lo, err := h.LinkByName("lo")
	check(t, err)
	forged := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a0.IP, 32))}
	check(t, h.AddrAdd(lo, forged))
	seen := make(chan string, 10)
	inside(t, a1.ns, func() error {
		u, err := net.ListenPacket("udp4", ":9999")
		if err != nil {
			return err
		}
		t.Cleanup(func() { u.Close() })
		go func() {
			p := make([]byte, 10)
			for {
				_, from, err := u.ReadFrom(p)
				if err != nil {
					return
				}
				seen <- from.String()
			}
		}()
		return nil
	})
	thief.askFrom(a0.IP, "udp", a1.IP, 9999)
	if got := len(seen); got != 0 && c.mode == cloud.OverlayWireGuard {
		t.Errorf("a packet from %s with the address %s got through", thief.IP, a0.IP)
	}
	for len(seen) > 0 {
		<-seen
	}
	check(t, h.AddrDel(lo, forged))
	if a0.askFrom(a0.IP, "udp", a1.IP, 9999); !comes(seen) {
		t.Error("and the true sender's did not")
	}
}

// TestOverlayIsRepaired: what another program removes comes back, and Destroy leaves nothing.
func TestOverlayIsRepaired(t *testing.T) {
	for _, mode := range cloud.OverlayModes() {
		t.Run(string(mode), func(t *testing.T) {
			c := newCluster(t, mode, 1500)
			n0 := c.machines[0]
			h, err := netlink.NewHandleAt(n0.host.ns)
			check(t, err)
			defer h.Close()
			own := leftovers(t, h)
			a, b := c.start(0, "a", 0), c.start(1, "b", 0)
			c.tell()
			b.listen(8080)
			answered := func() bool {
				for range 20 {
					if a.ask("tcp", b.IP, 8080) == a.IP.String() {
						return true
					}
				}
				return false
			}
			if !answered() {
				t.Fatal("no answer at first")
			}
			slice := &net.IPNet{IP: net.IPv4(10, 88, 4, 0).To4(), Mask: net.CIDRMask(22, 32)}
			routes, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: slice}, netlink.RT_FILTER_DST)
			check(t, err)
			if len(routes) != 2 {
				t.Fatalf("routes to %s: %v", slice, routes)
			}
			for _, r := range routes {
				check(t, h.RouteDel(&r))
			}
			inside(t, n0.host.ns, func() error {
				return (&Network{table: "micro_" + nameHash("n0")}).removeTable()
			})
			n0.do(order{Repair: true})
			if !answered() {
				t.Error("no answer after routes and table were removed")
			}
			if mode == cloud.OverlayWireGuard {
				l, err := h.LinkByName((&Network{table: "micro_" + nameHash("n0")}).tunnelName())
				check(t, err)
				check(t, h.LinkDel(l))
				n0.do(order{Repair: true})
				if !answered() {
					t.Error("no answer after the tunnel's interface was removed")
				}
			}
			n0.do(order{Detach: "a"})
			n0.do(order{Destroy: true})
			if left := leftovers(t, h); strings.Contains(left, "10.88.") || strings.Count(left, "\n") != strings.Count(own, "\n")-1 {
				t.Errorf("left on the host:\n%s\nof a node that was alone:\n%s", left, own)
			}
		})
	}
}

// leftovers describes the links and routes of a namespace.
func leftovers(t *testing.T, h *netlink.Handle) string {
	t.Helper()
	var b bytes.Buffer
	links, err := h.LinkList()
	check(t, err)
	for _, l := range links {
		fmt.Fprintln(&b, l.Attrs().Name)
	}
	routes, err := h.RouteList(nil, netlink.FAMILY_V4)
	check(t, err)
	for _, r := range routes {
		fmt.Fprintln(&b, r)
	}
	return b.String()
}

// TestFromNodes counts the connections that other nodes' routers have to a container, and no others.
func TestFromNodes(t *testing.T) {
	c := newCluster(t, cloud.OverlayDirect, 1500)
	n0, n1 := c.machines[0], c.machines[1]
	a, b := c.start(0, "a", 0), c.start(1, "b", 0)
	c.tell()
	inside(t, b.ns, func() error {
		l, err := net.Listen("tcp", ":8080") // of both families
		t.Cleanup(func() { l.Close() })
		return err
	})
	open := func(want int) {
		t.Helper()
		got := -1
		for begin := time.Now(); got != want && time.Since(begin) < 30*time.Second; {
			got = n1.do(order{Sockets: &b.IP}).Open
		}
		if got != want {
			t.Errorf("%d connections, not %d", got, want)
		}
	}
	connect := func(from place) (conn net.Conn) {
		t.Helper()
		inside(t, from.ns, func() (err error) {
			conn, err = net.Dial("tcp4", netip.AddrPortFrom(b.IP, 8080).String())
			return err
		})
		return conn
	}
	open(0)
	first, second := connect(n0.host), connect(n0.host)
	defer first.Close()
	defer second.Close()
	app, own := connect(a), connect(n1.host) // another container, and this node's own router
	defer app.Close()
	defer own.Close()
	open(2)
	first.Close()
	open(1)
	second.Close()
	open(0)
}

// TestANodeIsLost: a node whose cable is pulled is noticed within three seconds, and when it is back.
func TestANodeIsLost(t *testing.T) {
	for _, mode := range cloud.OverlayModes() {
		t.Run(string(mode), func(t *testing.T) {
			c := newCluster(t, mode, 1500)
			c.tell()
			n0, n1, n2 := c.machines[0], c.machines[1], c.machines[2]
			h, err := netlink.NewHandleAt(n2.host.ns)
			check(t, err)
			defer h.Close()
			eth, err := h.LinkByName("eth0")
			check(t, err)
			n0.do(order{Await: "-"})
			n1.do(order{Await: "-"})
			check(t, h.LinkSetDown(eth))
			begin := time.Now()
			n0.do(order{Await: "n2"})
			took := time.Since(begin)
			n1.do(order{Await: "n2"})
			check(t, h.LinkSetUp(eth))
			n2.do(order{Repair: true}) // the kernel has removed the routes
			n0.do(order{Await: "-"})
			n1.do(order{Await: "-"})
			t.Logf("noticed after %v", took)
			if took > 30*time.Second { // it takes two on a machine with nothing else to do
				t.Errorf("noticed after %v", took)
			}
		})
	}
}

// TestLargeBodiesBetweenNodes: packets of any size get through, in both directions, without waiting for a repetition.
func TestLargeBodiesBetweenNodes(t *testing.T) {
	for _, mode := range cloud.OverlayModes() {
		for _, mtu := range []int{1500, 1400} {
			t.Run(fmt.Sprintf("%s/mtu %d", mode, mtu), func(t *testing.T) {
				c := newCluster(t, mode, mtu)
				a, b := c.start(0, "a", 0), c.start(1, "b", 0)
				c.tell()
				begin := time.Now()
				const size = 64 << 20
				if got := transfer(t, a, b, size); got != size {
					t.Errorf("%d of %d bytes came back", got, size)
				}
				t.Logf("%d MiB there and back in %v", size>>20, time.Since(begin))
			})
		}
	}
}

// transfer sends bytes from a to b, which sends them back, and returns how many came.
func transfer(t *testing.T, a, b place, size int64) int64 {
	t.Helper()
	var l net.Listener
	inside(t, b.ns, func() (err error) {
		l, err = net.Listen("tcp4", ":7000")
		return err
	})
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	var conn net.Conn
	inside(t, a.ns, func() (err error) {
		conn, err = net.DialTimeout("tcp4", netip.AddrPortFrom(b.IP, 7000).String(), 10*time.Second)
		return err
	})
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(2*time.Minute)))
	go func() {
		_, _ = io.CopyN(conn, zeros{}, size)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	n, err := io.Copy(io.Discard, conn)
	check(t, err)
	return n
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
