// Package resolvers tests micro's DNS server with common resolvers and clients, in its own network and mount
// namespaces: they must report the server's answers correctly. It needs root and the programs that
// scripts/deps.sh installs.
package resolvers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
)

const insideEnv = "MICRO_TEST_RESOLVERS" // this process has the namespaces

// Addresses of the test machine. Queries from instance count as those of a container in the group default.
const (
	gateway      = "10.77.0.1" // the server
	instance     = "10.77.0.5"
	upstreamAddr = "192.0.2.53"
	unboundAddr  = "192.0.2.60"
	dnsmasqAddr  = "192.0.2.61"
)

// TestMain runs the tests in new namespaces with only a loopback interface.
func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) == "" {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env = append(os.Environ(), insideEnv+"=1")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		err := cmd.Run()
		if _, failed := errors.AsType[*exec.ExitError](err); !failed && err != nil {
			fmt.Fprintln(os.Stderr, "cannot make namespaces (run as root):", err)
		}
		if err != nil {
			os.Exit(1)
		}
		return
	}
	stop, err := makeMachine()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	stop()
	os.Exit(code)
}

// makeMachine sets up the interface, and starts the upstream and the server.
func makeMachine() (stop func(), err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	for _, ip := range []string{gateway, instance, upstreamAddr, unboundAddr, dnsmasqAddr} {
		if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: netlink.NewIPNet(net.ParseIP(ip))}); err != nil {
			return nil, err
		}
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return nil, err
	}
	stopUpstream, err := startUpstream()
	if err != nil {
		return nil, err
	}
	stopServer, err := startServer()
	if err != nil {
		return nil, err
	}
	return func() {
		stopServer()
		stopUpstream()
	}, nil
}

// outside are the records that the upstream has.
var outside = []string{
	"www.example.com. 300 IN A 198.51.100.1",
	"www.example.com. 300 IN AAAA 2001:db8::1",
	"alias.example.com. 300 IN CNAME www.example.com.",
	"rebind.example.com. 300 IN A 10.1.2.3",
	"vm1.c.proj.internal. 300 IN A 10.128.0.7",
}

var upstreamQueries atomic.Int64

// startUpstream runs a resolver that rejects EDNS and has only the records in outside.
func startUpstream() (stop func(), err error) {
	for i := range 35 {
		outside = append(outside, fmt.Sprintf("many.example.com. 300 IN A 198.51.100.%d", 100+i))
	}
	conn, err := net.ListenPacket("udp", upstreamAddr+":53")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", upstreamAddr+":53")
	if err != nil {
		return nil, err
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		upstreamQueries.Add(1)
		r := new(dns.Msg).SetReply(m)
		r.RecursionAvailable = true
		if m.IsEdns0() != nil {
			r.Rcode = dns.RcodeFormatError
			_ = w.WriteMsg(r)
			return
		}
		q, exists := m.Question[0], false
		for range 2 {
			for _, line := range outside {
				rr, err := dns.NewRR(line)
				if err != nil {
					panic(err)
				}
				if !strings.EqualFold(rr.Header().Name, q.Name) {
					continue
				}
				exists = true
				if alias, ok := rr.(*dns.CNAME); ok {
					r.Answer, q.Name = append(r.Answer, rr), alias.Target
				} else if rr.Header().Rrtype == q.Qtype {
					r.Answer = append(r.Answer, rr)
				}
			}
			if q.Name == m.Question[0].Name {
				break
			}
		}
		if len(r.Answer) == 0 || r.Answer[len(r.Answer)-1].Header().Rrtype != q.Qtype {
			soa, _ := dns.NewRR("com. 60 IN SOA ns.example.com. root.example.com. 1 2 3 4 30")
			r.Ns = []dns.RR{soa}
		}
		if !exists {
			r.Rcode = dns.RcodeNameError
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			r.Compress = true
			r.Truncate(dns.MinMsgSize)
		}
		_ = w.WriteMsg(r)
	})
	servers := []*dns.Server{{PacketConn: conn, Handler: handler}, {Listener: listener, Handler: handler}}
	for _, s := range servers {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		go func() { _ = s.ActivateAndServe() }()
		<-ready
	}
	return func() {
		for _, s := range servers {
			_ = s.Shutdown()
		}
	}, nil
}

// everyone puts every container into the group default.
type everyone struct{}

func (everyone) GroupOf(netip.Addr) string { return string(cloud.DefaultGroup) }

// startServer runs micro's server as a node does.
func startServer() (stop func(), err error) {
	subnet := netip.MustParsePrefix("10.77.0.0/20")
	empty, err := dnsd.NewZone("micro.test", subnet)
	if err != nil {
		return nil, err
	}
	loopback, node := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr(gateway)
	reach := dnsd.Reach{
		Listeners: []netip.Addr{loopback, node}, Subnet: subnet, Gateway: node, Own: []netip.Addr{loopback, node},
		Local: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}
	forward, err := dnsd.NewForwarder(dnsd.ForwardConfig{
		Upstreams: []netip.AddrPort{netip.MustParseAddrPort(upstreamAddr + ":53")}, HostNetworks: dnsd.HostNetworks, Forbidden: func() []netip.Prefix { return []netip.Prefix{subnet} },
	})
	if err != nil {
		return nil, err
	}
	s, err := dnsd.New(dnsd.Config{
		Listen:   []netip.AddrPort{netip.AddrPortFrom(node, 53), netip.AddrPortFrom(loopback, 53)},
		Networks: reach.Networks(), Zone: dnsd.Compile(empty, cloud.View{}, smallCloud()), Forward: forward, Groups: everyone{}, Rate: -1,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		<-done
	}, nil
}

// smallCloud returns apps in two groups, mapped hosts and a wildcard.
func smallCloud() cloud.View {
	born := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	v := cloud.NewView()
	changes := []cloud.Change{cloud.Put(&cloud.Group{Name: cloud.DefaultGroup}), cloud.Put(&cloud.Group{Name: "qa"})}
	for _, ref := range []cloud.AppRef{{Group: cloud.DefaultGroup, App: "shop"}, {Group: "qa", App: "tool"}} {
		changes = append(changes, cloud.Put(&cloud.App{AppRef: ref, Created: born, Last: 1, Current: 1}),
			cloud.Put(&cloud.Release{ReleaseRef: ref.Release(1), Created: born, Up: true}))
	}
	for _, host := range []cloud.Host{"*.dev.micro.test", "a.b.deep.micro.test"} {
		changes = append(changes, cloud.Put(&cloud.VirtualHost{Host: host, Group: cloud.DefaultGroup}))
	}
	v.State = v.State.Apply(1, changes)
	for i := range 40 {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(5 + i)}), 8080)
		v.Instances = v.Instances.With(&cloud.Instance{
			ID:   cloud.InstanceID(addr.String()),
			Slot: cloud.Slot{ReleaseRef: cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}.Release(1), Process: cloud.Web, Index: i},
			Addr: addr, Phase: cloud.InstanceReady,
		})
	}
	return v
}
