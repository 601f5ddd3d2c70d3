package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// outsides counts the networks of scripts, so that each has addresses of its own.
var outsides atomic.Int32

// outside NAME… makes a network beside the machine's, in a namespace, with a web server at a public address for each
// name, and a DNS server that knows the names. It sets $OUTSIDEDNS, and $OUTSIDE1… to the addresses.
func outsideCommand(ts *testscript.TestScript, neg bool, names []string) {
	if neg || len(names) == 0 {
		ts.Fatalf("usage: outside NAME…")
	}
	n := byte(os.Getpid()%200 + int(outsides.Add(1)))
	near, far := net.IPv4(198, 19, n, 1), net.IPv4(198, 19, n, 2)
	addrs := map[string]net.IP{}
	for i, name := range names {
		addrs[dns.Fqdn(name)] = net.IPv4(198, 18, n, byte(i+1))
		ts.Setenv(fmt.Sprintf("OUTSIDE%d", i+1), addrs[dns.Fqdn(name)].String())
	}
	runtime.LockOSThread()
	here, err := netns.Get()
	ts.Check(err)
	there, err := netns.New()
	ts.Check(err)
	ts.Defer(func() { there.Close() })
	ts.Check(serveOutside(far, addrs, ts))
	ts.Check(netns.Set(here))
	runtime.UnlockOSThread()
	here.Close()

	attrs := netlink.NewLinkAttrs()
	attrs.Name = fmt.Sprintf("mtout%d", n)
	ts.Check(netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(there)}))
	link, err := netlink.LinkByName(attrs.Name)
	ts.Check(err)
	ts.Defer(func() { _ = netlink.LinkDel(link) })
	inside, err := netlink.NewHandleAt(there)
	ts.Check(err)
	defer inside.Close()
	peer, err := inside.LinkByName("eth0")
	ts.Check(err)
	ts.Check(netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: near, Mask: net.CIDRMask(24, 32)}}))
	ts.Check(inside.AddrAdd(peer, &netlink.Addr{IPNet: &net.IPNet{IP: far, Mask: net.CIDRMask(24, 32)}}))
	for _, a := range addrs {
		ts.Check(inside.AddrAdd(peer, &netlink.Addr{IPNet: &net.IPNet{IP: a, Mask: net.CIDRMask(32, 32)}}))
	}
	ts.Check(netlink.LinkSetUp(link))
	ts.Check(inside.LinkSetUp(peer))
	ts.Check(inside.RouteAdd(&netlink.Route{Gw: near}))
	ts.Check(netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: far, Dst: &net.IPNet{IP: net.IPv4(198, 18, n, 0), Mask: net.CIDRMask(24, 32)}}))
	ts.Setenv("OUTSIDEDNS", far.String()+":53")
}

// serveOutside binds in the namespace of the thread, and answers from any.
func serveOutside(dnsAt net.IP, addrs map[string]net.IP, ts *testscript.TestScript) error {
	web, err := net.Listen("tcp4", ":8080")
	if err != nil {
		return err
	}
	ts.Defer(func() { web.Close() })
	go func() {
		_ = http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "outside %s\n", r.Host) }))
	}()
	packets, err := net.ListenPacket("udp4", ":53")
	if err != nil {
		return err
	}
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		a, ok := addrs[strings.ToLower(q.Question[0].Name)]
		switch {
		case !ok:
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: a})
		}
		_ = w.WriteMsg(m)
	})}
	ts.Defer(func() { _ = server.Shutdown() })
	go func() { _ = server.ActivateAndServe() }()
	return nil
}
