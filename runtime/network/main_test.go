package network

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const hostEnv = "MICRO_TEST_HOST" // set in the process whose namespaces the tests use as a host

// TestMain gives the tests a machine of their own, with one uplink to an "outside" that is a network
// namespace too.
func TestMain(m *testing.M) {
	if cfg := os.Getenv(machineEnv); cfg != "" {
		if err := runMachine(cfg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(hostEnv) == "" {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env = append(os.Environ(), hostEnv+"=1")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := makeWorld(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// The world: the host is 192.0.2.2 on up0, the outside 192.0.2.1 and, on its lo, 203.0.113.1.
var (
	outside    netns.NsHandle
	hostAddr   = netip.MustParseAddr("192.0.2.2")
	farAddr    = netip.MustParseAddr("203.0.113.1")
	linkLocal  = netip.MustParseAddr("169.254.169.254")
	wireServer = netip.MustParseAddr("168.63.129.16")
)

func makeWorld() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("run", "/run", "tmpfs", 0, ""); err != nil {
		return err
	}
	far := &endpoint{Endpoint: Endpoint{NetNS: "/run/outside", UserNS: "/run/outside.user"}}
	if err := far.makeNamespaces(); err != nil {
		return err
	}
	var err error
	if outside, err = netns.GetFromPath(far.NetNS); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "up0"
	attrs.MTU = 1400
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "down0", PeerNamespace: netlink.NsFd(outside)}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	h, err := netlink.NewHandleAt(outside)
	if err != nil {
		return err
	}
	here, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	for _, x := range []struct {
		h     *netlink.Handle
		link  string
		addrs []string
	}{
		{here, "lo", nil}, {here, "up0", []string{"192.0.2.2/24"}},
		{h, "lo", []string{"203.0.113.1/32", "169.254.169.254/32", "168.63.129.16/32"}}, {h, "down0", []string{"192.0.2.1/24"}},
	} {
		l, err := x.h.LinkByName(x.link)
		if err != nil {
			return err
		}
		for _, a := range x.addrs {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				return err
			}
			if err := x.h.AddrAdd(l, addr); err != nil {
				return err
			}
		}
		if err := x.h.LinkSetUp(l); err != nil {
			return err
		}
	}
	return here.RouteAdd(&netlink.Route{Gw: net.IPv4(192, 0, 2, 1)})
}

// inNetNS runs f on a thread in a network namespace.
func inside(t *testing.T, ns netns.NsHandle, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- errors.Join(netns.Set(ns), f())
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// place is an end of connections: a container, the host, the outside.
type place struct {
	t  *testing.T
	ns netns.NsHandle
	IP netip.Addr
}

// listen answers every connection and every packet to a port with the peer's address.
func (p place) listen(port uint16) {
	p.t.Helper()
	inside(p.t, p.ns, func() error {
		l, err := net.Listen("tcp4", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		u, err := net.ListenPacket("udp4", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		p.t.Cleanup(func() { l.Close(); u.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, c.RemoteAddr())
				c.Close()
			}
		}()
		go func() {
			b := make([]byte, 100)
			for {
				_, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = u.WriteTo([]byte(from.String()), from)
			}
		}()
		return nil
	})
}

// answer asks until the answer is want, for ten seconds at most: this machine may do other work. It asks once where no answer
// is wanted.
func (p place) answer(want, proto string, to netip.Addr, port uint16) (got string) {
	p.t.Helper()
	for begin := time.Now(); ; {
		if got = p.ask(proto, to, port); got == want || want == "" || time.Since(begin) > 10*time.Second {
			return got
		}
	}
}

// comes waits for what a listener has heard, for ten seconds at most.
func comes(seen <-chan string) bool {
	select {
	case <-seen:
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}

// ask connects to a place and returns the source address that it sees, or "" if there is no answer.
func (p place) ask(proto string, to netip.Addr, port uint16) string {
	p.t.Helper()
	return p.askFrom(netip.Addr{}, proto, to, port)
}

func (p place) askFrom(from netip.Addr, proto string, to netip.Addr, port uint16) (seen string) {
	p.t.Helper()
	inside(p.t, p.ns, func() error {
		d := net.Dialer{Timeout: 300 * time.Millisecond}
		if from.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
			if proto == "udp" {
				d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
			}
		}
		c, err := d.Dial(proto+"4", netip.AddrPortFrom(to, port).String())
		if err != nil {
			return nil
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			return err
		}
		if proto == "udp" {
			if _, err := c.Write([]byte("?")); err != nil {
				return nil
			}
		}
		b := make([]byte, 100)
		n, _ := c.Read(b)
		seen, _, _ = strings.Cut(string(b[:n]), ":")
		return nil
	})
	return seen
}

func testNetwork(t *testing.T, name, subnet string) *Network {
	t.Helper()
	n, err := Open(testConfig(t, name, subnet))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Destroy(); err != nil {
			t.Error(err)
		}
	})
	if _, err := n.Sync(nil); err != nil {
		t.Fatal(err)
	}
	return n
}

func testConfig(t *testing.T, name, subnet string) Config {
	t.Helper()
	c := Config{Name: name, State: filepath.Join("/run", t.Name(), name), Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil))}
	if subnet != "" {
		c.Subnet = netip.MustParsePrefix(subnet)
	}
	return c
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func attach(t *testing.T, n *Network, id string, tenant uint32) place {
	t.Helper()
	return attachWith(t, n, id, tenant, Access{})
}

func attachWith(t *testing.T, n *Network, id string, tenant uint32, a Access) place {
	t.Helper()
	ep, err := n.Reserve(id, tenant, a)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Attach(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return at(t, ep)
}

func at(t *testing.T, ep Endpoint) place {
	t.Helper()
	ns, err := netns.GetFromPath(ep.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return place{t, ns, ep.IP}
}

func host(t *testing.T) place {
	t.Helper()
	ns, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return place{t, ns, hostAddr}
}

func listenUDP(port int) (net.PacketConn, error) {
	return net.ListenPacket("udp4", fmt.Sprintf(":%d", port))
}
