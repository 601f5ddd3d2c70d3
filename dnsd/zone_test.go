package dnsd

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

var born = time.Date(2026, 11, 22, 23, 30, 0, 0, time.UTC)

// Views of the tests' clients.
var (
	loopback = View{Class: Loopback, A: netip.MustParseAddr("127.0.0.1"), Recurse: true}
	lan      = View{Class: Local, A: netip.MustParseAddr("192.168.1.5"), AAAA: netip.MustParseAddr("fd00::5"), Recurse: true}
	inGroup  = View{Class: Container, A: netip.MustParseAddr("10.77.0.1"), Group: "default", Recurse: true}
	inQA     = View{Class: Container, A: netip.MustParseAddr("10.77.0.1"), Group: "qa", Recurse: true}
	newborn  = View{Class: Container, A: netip.MustParseAddr("10.77.0.1"), Recurse: true}
	outside  = View{A: netip.MustParseAddr("127.0.0.1")}
)

func app(group, name string, current int) *cloud.App {
	return &cloud.App{AppRef: cloud.AppRef{Group: cloud.GroupName(group), App: cloud.AppName(name)}, Created: born, Last: current, Current: current}
}

func release(a *cloud.App, n int) *cloud.Release {
	return &cloud.Release{ReleaseRef: a.Release(n), Created: born, Up: true}
}

func instance(r *cloud.Release, index int, addr string, phase cloud.InstancePhase) *cloud.Instance {
	id := cloud.InstanceID(string(r.Group) + "-" + string(r.App) + "-" + addr)
	return &cloud.Instance{ID: id, Slot: cloud.Slot{ReleaseRef: r.ReleaseRef, Process: cloud.Web, Index: index}, Phase: phase, Addr: netip.MustParseAddrPort(addr)}
}

// tlsOnly is a host that is asked by TLS alone, which is the app's if it is passed through.
func tlsOnly(host string, passthrough bool) *cloud.VirtualHost {
	v := vhost(host)
	v.TLS, v.Passthrough = &cloud.HostTLS{Only: true}, passthrough
	return v
}

func vhost(host string) *cloud.VirtualHost {
	return &cloud.VirtualHost{Host: cloud.Host(host), Group: "default"}
}

// shopView returns a small cloud with every kind of name.
func shopView() cloud.View {
	shop, blog, tool := app("default", "shop", 7), app("default", "blog", 1), app("qa", "tool", 2)
	r6, r7, staged := release(shop, 6), release(shop, 7), release(shop, 8)
	staged.Staged = true
	b1, t2 := release(blog, 1), release(tool, 2)
	v := cloud.NewView()
	v.State = v.State.Apply(42, []cloud.Change{
		cloud.Put(&cloud.Group{Name: "default"}), cloud.Put(&cloud.Group{Name: "qa"}), cloud.Put(&cloud.Group{Name: "empty"}),
		cloud.Put(shop), cloud.Put(blog), cloud.Put(tool), cloud.Put(r6), cloud.Put(r7), cloud.Put(staged), cloud.Put(b1), cloud.Put(t2),
		cloud.Put(tlsOnly("only.micro.test", false)), cloud.Put(tlsOnly("*.only.micro.test", false)), cloud.Put(tlsOnly("mq.micro.test", true)),
		cloud.Put(vhost("tcp:5433")), cloud.Put(vhost("www.micro.test")), cloud.Put(vhost("*.dev.micro.test")), cloud.Put(vhost("a.b.dev.micro.test")), cloud.Put(vhost("a.b.deep.micro.test")), cloud.Put(vhost("www.example.com")),
	})
	for _, i := range []*cloud.Instance{
		instance(r7, 0, "10.77.0.5:8080", cloud.InstanceReady), instance(r7, 1, "10.77.0.6:8080", cloud.InstanceReady),
		instance(r7, 2, "10.77.0.7:8080", cloud.InstanceUnready), instance(r7, 3, "[fd77::8]:8080", cloud.InstanceReady),
		instance(staged, 0, "10.77.0.9:8080", cloud.InstanceReady), instance(t2, 0, "10.77.1.5:80", cloud.InstanceReady),
	} {
		v.Instances = v.Instances.With(i)
	}
	return v
}

func compileZone(t testing.TB, v cloud.View) *Zone {
	t.Helper()
	z, err := NewZone("micro.test", netip.MustParsePrefix("10.77.0.0/20"))
	if err != nil {
		t.Fatal(err)
	}
	return Compile(z, cloud.View{}, v)
}

// ask packs a question, lets change alter it, and returns the zone's answer.
func ask(t testing.TB, z *Zone, question string, v View, change func(*dns.Msg)) (*dns.Msg, bool) {
	t.Helper()
	f := strings.Fields(question)
	m := new(dns.Msg)
	m.Id, m.RecursionDesired = 4711, true
	m.Question = []dns.Question{{Name: f[0], Qclass: dns.StringToClass[f[1]], Qtype: dns.StringToType[f[2]]}}
	if change != nil {
		change(m)
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var q Query
	if !q.Parse(wire) {
		t.Fatalf("%s: not a query", question)
	}
	b, ours := z.Answer(nil, &q, v)
	if !ours {
		return nil, false
	}
	r := new(dns.Msg)
	if err := r.Unpack(b); err != nil {
		t.Fatalf("%s: %v in % x", question, err, b)
	}
	if r.Id != m.Id || !r.Response || r.Opcode != m.Opcode {
		t.Errorf("%s: header %v", question, r.MsgHdr)
	}
	return r, true
}

// text formats an answer as in a zone file: the records of its answer section, or the rcode and the authority
// section if there are none.
func text(r *dns.Msg) string {
	var lines []string
	for _, rr := range r.Answer {
		lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
	}
	if len(lines) == 0 || r.Rcode != dns.RcodeSuccess {
		lines = append(lines, dns.RcodeToString[r.Rcode])
		for _, rr := range r.Ns {
			lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	if r.Truncated {
		lines = append(lines, "TC")
	}
	return strings.Join(lines, "\n")
}

const (
	soa        = "micro.test. 5 IN SOA ns.micro.test. hostmaster.micro.test. 42 3600 600 86400 5"
	soaDefault = "default.internal. 10 IN SOA ns.micro.test. hostmaster.micro.test. 42 3600 600 86400 10"
	soaQA      = "qa.internal. 10 IN SOA ns.micro.test. hostmaster.micro.test. 42 3600 600 86400 10"
	soaLocal   = "localhost. 3600 IN SOA localhost. root.localhost. 1 3600 600 86400 3600"
)

func soaSpecialUse(top string) string { return strings.Replace(soaQA, "qa.internal.", top, 1) }
func soaReverse(top string) string    { return soaSpecialUse(top) }

func TestAnswer(t *testing.T) {
	z := compileZone(t, shopView())
	f := func(question string, v View, want ...string) {
		t.Helper()
		r, ours := ask(t, z, question, v, nil)
		got := "forwarded"
		if ours {
			got = text(r)
		}
		if w := strings.Join(want, "\n"); got != w {
			t.Errorf("%s\n got %s\nwant %s", question, got, w)
		}
	}

	// The address of an app depends on the kind of client.
	f("shop.micro.test. IN A", loopback, "shop.micro.test. 5 IN A 127.0.0.1")
	f("shop.micro.test. IN A", inGroup, "shop.micro.test. 5 IN A 10.77.0.1")
	f("shop.micro.test. IN A", inQA, "shop.micro.test. 5 IN A 10.77.0.1")
	f("shop.micro.test. IN A", lan, "shop.micro.test. 5 IN A 192.168.1.5")
	f("shop.micro.test. IN AAAA", lan, "shop.micro.test. 5 IN AAAA fd00::5")
	f("shop.micro.test. IN AAAA", loopback, "NOERROR", soa)
	f("shop.micro.test. IN HTTPS", loopback, "NOERROR", soa)

	// Hosts that are asked by TLS alone say how, where this client has a listener for TLS.
	byTLS, elsewhere := loopback, lan
	byTLS.HTTPS, elsewhere.HTTPS = 8443, 443
	f("shop.micro.test. IN HTTPS", byTLS, "NOERROR", soa)
	f("www.micro.test. IN HTTPS", byTLS, "NOERROR", soa)
	f("only.micro.test. IN HTTPS", loopback, "NOERROR", soa)
	f("only.micro.test. IN HTTPS", byTLS, `only.micro.test. 5 IN HTTPS 1 . alpn="h2,http/1.1" port="8443"`)
	f("only.micro.test. IN HTTPS", elsewhere, `only.micro.test. 5 IN HTTPS 1 . alpn="h2,http/1.1" port="443"`)
	byHTTP3 := byTLS
	byHTTP3.HTTP3 = true
	f("only.micro.test. IN HTTPS", byHTTP3, `only.micro.test. 5 IN HTTPS 1 . alpn="h3,h2,http/1.1" port="8443"`)
	f("shop.micro.test. IN HTTPS", byHTTP3, "NOERROR", soa)
	f("any.only.micro.test. IN HTTPS", byTLS, `any.only.micro.test. 5 IN HTTPS 1 . alpn="h2,http/1.1" port="8443"`)
	f("mq.micro.test. IN HTTPS", byTLS, "NOERROR", soa)
	f("only.micro.test. IN CAA", byTLS, "NOERROR", soa)
	f("sHoP.MICRO.test. IN A", loopback, "sHoP.MICRO.test. 5 IN A 127.0.0.1")
	f("tool.qa.micro.test. IN A", loopback, "tool.qa.micro.test. 5 IN A 127.0.0.1")
	f("api.micro.test. IN A", loopback, "api.micro.test. 5 IN A 127.0.0.1")
	f("ns.micro.test. IN A", loopback, "ns.micro.test. 5 IN A 127.0.0.1")

	// Releases that run, and one that does not.
	f("shop-20261122-r7.micro.test. IN A", loopback, "shop-20261122-r7.micro.test. 5 IN A 127.0.0.1")
	f("shop-20261122-r8.micro.test. IN A", loopback, "shop-20261122-r8.micro.test. 5 IN A 127.0.0.1")
	f("tool-20261122-r2.qa.micro.test. IN A", loopback, "tool-20261122-r2.qa.micro.test. 5 IN A 127.0.0.1")
	f("shop-20261122-r6.micro.test. IN A", loopback, "NXDOMAIN", soa)

	// Mapped hosts. A wildcard stands for one label, as in the router.
	f("www.micro.test. IN A", loopback, "www.micro.test. 5 IN A 127.0.0.1")
	f("any.dev.micro.test. IN A", loopback, "any.dev.micro.test. 5 IN A 127.0.0.1")
	f("b.c.dev.micro.test. IN A", loopback, "NXDOMAIN", soa)
	f("a.b.c.dev.micro.test. IN A", loopback, "NXDOMAIN", soa)
	f("a.b.dev.micro.test. IN A", loopback, "a.b.dev.micro.test. 5 IN A 127.0.0.1")
	f("b.dev.micro.test. IN A", loopback, "b.dev.micro.test. 5 IN A 127.0.0.1")
	f("x.b.dev.micro.test. IN A", loopback, "NXDOMAIN", soa)
	f("*.dev.micro.test. IN A", loopback, "*.dev.micro.test. 5 IN A 127.0.0.1")
	f("any.dev.micro.test. IN MX", loopback, "NOERROR", soa)
	f("dev.micro.test. IN A", loopback, "NOERROR", soa)

	// Names that don't exist, and empty non-terminals (RFC 8020).
	f("nope.micro.test. IN A", loopback, "NXDOMAIN", soa)
	f("x.shop.micro.test. IN A", loopback, "NXDOMAIN", soa)
	f("shop\\000x.micro.test. IN A", loopback, "NXDOMAIN", soa)
	f("qa.micro.test. IN A", loopback, "NOERROR", soa)
	f("deep.micro.test. IN A", loopback, "NOERROR", soa)
	f("b.deep.micro.test. IN TXT", loopback, "NOERROR", soa)
	f("c.deep.micro.test. IN A", loopback, "NXDOMAIN", soa)
	f("c.b.deep.micro.test. IN A", loopback, "NXDOMAIN", soa)

	// The apex of the zone.
	f("micro.test. IN SOA", loopback, strings.Replace(soa, " 5 IN", " 5 IN", 1))
	f("micro.test. IN NS", loopback, "micro.test. 5 IN NS ns.micro.test.")
	f("micro.test. IN A", loopback, "NOERROR", soa)
	f("shop.micro.test. IN NS", loopback, "NOERROR", soa)
	f("shop.micro.test. IN SOA", loopback, "NOERROR", soa)
	f("notmicro.test. IN A", loopback, "NXDOMAIN", soaSpecialUse("test."))
	f("omicro.test. IN A", loopback, "NXDOMAIN", soaSpecialUse("test."))

	// Query types that are refused, or get a minimal answer.
	f("micro.test. IN AXFR", loopback, "REFUSED")
	f("micro.test. IN IXFR", loopback, "REFUSED")
	f("shop.micro.test. IN ANY", loopback, `shop.micro.test. 5 IN HINFO "RFC8482" ""`)
	f("nope.micro.test. IN ANY", loopback, "NXDOMAIN", soa)
	f("www.example.com. IN ANY", loopback, "REFUSED")
	f("shop.micro.test. CH A", loopback, "REFUSED")
	f("version.bind. CH TXT", loopback, "REFUSED")
	f("shop.micro.test. IN OPT", loopback, "NOTIMP")
	f("shop.micro.test. IN MAILB", loopback, "NOTIMP")

	// Outside clients get REFUSED for everything.
	for _, q := range []string{"shop.micro.test. IN A", "nope.micro.test. IN A", "micro.test. IN SOA", "shop.default.internal. IN A", "localhost. IN A", "example.com. IN A", "shop.micro.test. IN ANY"} {
		f(q, outside, "REFUSED")
	}

	// Names between containers, each group for itself.
	f("shop.default.internal. IN A", inGroup, "shop.default.internal. 5 IN A 10.77.0.5", "shop.default.internal. 5 IN A 10.77.0.6")
	f("shop.default.internal. IN AAAA", inGroup, "shop.default.internal. 5 IN AAAA fd77::8")
	f("SHOP.Default.internal. IN SRV", inGroup,
		"SHOP.Default.internal. 5 IN SRV 0 0 8080 10-77-0-5.shop.default.internal.",
		"SHOP.Default.internal. 5 IN SRV 0 0 8080 10-77-0-6.shop.default.internal.",
		"SHOP.Default.internal. 5 IN SRV 0 0 8080 fd77--8.shop.default.internal.")
	f("10-77-0-6.shop.default.internal. IN AAAA", inGroup, "NOERROR", soaDefault)
	f("10-77-0-6.shop.default.internal. IN A", inGroup, "10-77-0-6.shop.default.internal. 5 IN A 10.77.0.6")
	f("fd77--8.shop.default.internal. IN AAAA", inGroup, "fd77--8.shop.default.internal. 5 IN AAAA fd77::8")
	f("_http._tcp.shop.default.internal. IN SRV", inGroup,
		"_http._tcp.shop.default.internal. 5 IN SRV 0 0 8080 10-77-0-5.shop.default.internal.",
		"_http._tcp.shop.default.internal. 5 IN SRV 0 0 8080 10-77-0-6.shop.default.internal.",
		"_http._tcp.shop.default.internal. 5 IN SRV 0 0 8080 fd77--8.shop.default.internal.")
	f("_http._tcp.shop.default.internal. IN A", inGroup, "NOERROR", soaDefault)
	f("_tcp.shop.default.internal. IN A", inGroup, "NOERROR", soaDefault)
	f("_udp.shop.default.internal. IN A", inGroup, "NXDOMAIN", soaDefault)
	f("_http._tcp.nope.default.internal. IN SRV", inGroup, "NXDOMAIN", soaDefault)
	// A single instance has a name as long as it runs, ready or not.
	f("10-77-0-7.shop.default.internal. IN A", inGroup, "10-77-0-7.shop.default.internal. 5 IN A 10.77.0.7")
	f("10-77-0-9.shop.default.internal. IN A", inGroup, "10-77-0-9.shop.default.internal. 5 IN A 10.77.0.9")
	f("10-77-0-10.shop.default.internal. IN A", inGroup, "NXDOMAIN", soaDefault)
	f("10-77-0-5.blog.default.internal. IN A", inGroup, "NXDOMAIN", soaDefault)
	f("blog.default.internal. IN A", inGroup, "NOERROR", soaDefault)
	f("nope.default.internal. IN A", inGroup, "NXDOMAIN", soaDefault)
	f("default.internal. IN A", inGroup, "NOERROR", soaDefault)
	f("default.internal. IN NS", inGroup, "default.internal. 5 IN NS ns.micro.test.")
	f("default.internal. IN SOA", inGroup, strings.Replace(soaDefault, " 10 IN", " 5 IN", 1))
	f("tool.qa.internal. IN A", inGroup, "NXDOMAIN", soaQA)
	f("qa.internal. IN A", inGroup, "NXDOMAIN", soaQA)
	f("tool.qa.internal. IN A", inQA, "tool.qa.internal. 5 IN A 10.77.1.5")
	f("shop.default.internal. IN A", inQA, "NXDOMAIN", soaDefault)
	f("shop.default.internal. IN ANY", inQA, "NXDOMAIN", soaDefault)
	f("10-77-0-5.shop.default.internal. IN A", inQA, "NXDOMAIN", soaDefault)
	f("shop.default.internal. IN A", newborn, "SERVFAIL")
	f("shop.default.internal. IN A", loopback, "NXDOMAIN", soaDefault)
	f("shop.default.internal. IN A", lan, "NXDOMAIN", soaDefault)
	f("any.empty.internal. IN A", loopback, "NXDOMAIN", strings.Replace(soaQA, "qa", "empty", 1))

	// Below "internal" only the groups that exist are ours.
	for _, v := range []View{inGroup, inQA, newborn, loopback, lan} {
		for _, name := range []string{"internal.", "metadata.google.internal.", "vm1.c.proj.internal.", "ip-10-0-0-5.ec2.internal.", "default.proj.internal.", "shop.default.internal.example.com."} {
			f(name+" IN A", v, "forwarded")
		}
	}
	f("vm1.c.proj.internal. IN A", outside, "REFUSED")

	// Reverse names. Those of containers are visible to their group and this machine only.
	f("5.0.77.10.in-addr.arpa. IN PTR", inGroup, "5.0.77.10.in-addr.arpa. 5 IN PTR 10-77-0-5.shop.default.internal.")
	f("7.0.77.10.IN-ADDR.arpa. IN PTR", inGroup, "7.0.77.10.IN-ADDR.arpa. 5 IN PTR 10-77-0-7.shop.default.internal.")
	f("5.1.77.10.in-addr.arpa. IN PTR", inQA, "5.1.77.10.in-addr.arpa. 5 IN PTR 10-77-1-5.tool.qa.internal.")
	f("5.1.77.10.in-addr.arpa. IN PTR", loopback, "5.1.77.10.in-addr.arpa. 5 IN PTR 10-77-1-5.tool.qa.internal.")
	f("8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa. IN PTR", inGroup,
		"8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa. 5 IN PTR fd77--8.shop.default.internal.")
	f("5.0.77.10.in-addr.arpa. IN A", inGroup, "NOERROR", soaReverse("10.in-addr.arpa."))
	f("5.0.77.10.in-addr.arpa. IN ANY", inGroup, "5.0.77.10.in-addr.arpa. 5 IN HINFO \"RFC8482\" \"\"")
	f("5.1.77.10.in-addr.arpa. IN PTR", inGroup, "NXDOMAIN", soaReverse("10.in-addr.arpa."))
	f("5.1.77.10.in-addr.arpa. IN PTR", lan, "NXDOMAIN", soaReverse("10.in-addr.arpa."))
	f("5.1.77.10.in-addr.arpa. IN PTR", outside, "REFUSED")
	f("99.0.77.10.in-addr.arpa. IN PTR", inGroup, "NXDOMAIN", soaReverse("10.in-addr.arpa."))
	f("0.77.10.in-addr.arpa. IN PTR", inGroup, "NOERROR", soaReverse("10.in-addr.arpa."))
	f("77.10.in-addr.arpa. IN NS", inGroup, "NOERROR", soaReverse("10.in-addr.arpa."))
	f("10.in-addr.arpa. IN NS", inGroup, "10.in-addr.arpa. 5 IN NS ns.micro.test.")
	f("10.in-addr.arpa. IN SOA", inGroup, strings.Replace(soaReverse("10.in-addr.arpa."), " 10 IN", " 5 IN", 1))
	f("10.in-addr.arpa. IN PTR", inGroup, "NOERROR", soaReverse("10.in-addr.arpa."))
	f("78.10.in-addr.arpa. IN PTR", inGroup, "NXDOMAIN", soaReverse("10.in-addr.arpa."))
	f("x.5.0.77.10.in-addr.arpa. IN PTR", inGroup, "NXDOMAIN", soaReverse("10.in-addr.arpa."))
	f("05.0.77.10.in-addr.arpa. IN PTR", inGroup, "NXDOMAIN", soaReverse("10.in-addr.arpa."))
	f("lb._dns-sd._udp.0.1.168.192.in-addr.arpa. IN PTR", loopback, "NXDOMAIN", soaReverse("168.192.in-addr.arpa."))
	f("1.0.0.127.in-addr.arpa. IN PTR", inGroup, "1.0.0.127.in-addr.arpa. 5 IN PTR localhost.")
	f("9.0.0.127.in-addr.arpa. IN PTR", loopback, "NXDOMAIN", soaReverse("127.in-addr.arpa."))
	f("1."+strings.Repeat("0.", 31)+"ip6.arpa. IN PTR", loopback, "1."+strings.Repeat("0.", 31)+"ip6.arpa. 5 IN PTR localhost.")
	f("1.2.31.172.in-addr.arpa. IN PTR", loopback, "NXDOMAIN", soaReverse("31.172.in-addr.arpa."))
	f("1.2.127.100.in-addr.arpa. IN PTR", loopback, "NXDOMAIN", soaReverse("127.100.in-addr.arpa."))
	f("255.255.255.255.in-addr.arpa. IN PTR", loopback, "NOERROR", soaReverse("255.255.255.255.in-addr.arpa."))
	f("0.8.e.f.ip6.arpa. IN PTR", loopback, "NXDOMAIN", soaReverse("8.e.f.ip6.arpa."))
	for _, name := range []string{"1.2.32.172.in-addr.arpa.", "1.2.128.100.in-addr.arpa.", "8.8.8.8.in-addr.arpa.", "in-addr.arpa.", "arpa.", "172.in-addr.arpa.", "c.f.ip6.arpa.", "ip6.arpa.", "ipv4only.arpa."} {
		f(name+" IN PTR", loopback, "forwarded")
	}
	// This machine is in 10.9.0.0/16, and its resolver may know the names there.
	site := loopback
	site.UpstreamNetworks = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("10.64.0.0/10")}
	f("1.2.9.10.in-addr.arpa. IN PTR", site, "forwarded")
	f("lb._dns-sd._udp.0.0.9.10.in-addr.arpa. IN PTR", site, "forwarded")
	f("9.10.in-addr.arpa. IN SOA", site, "forwarded")
	f("10.in-addr.arpa. IN PTR", site, "NOERROR", soaReverse("10.in-addr.arpa."))
	f("1.2.8.10.in-addr.arpa. IN PTR", site, "NXDOMAIN", soaReverse("10.in-addr.arpa."))
	f("99.0.77.10.in-addr.arpa. IN PTR", site, "NXDOMAIN", soaReverse("10.in-addr.arpa.")) // in the containers' subnet
	f("0.77.10.in-addr.arpa. IN PTR", site, "NOERROR", soaReverse("10.in-addr.arpa."))
	f("77.10.in-addr.arpa. IN PTR", site, "NOERROR", soaReverse("10.in-addr.arpa."))
	f("78.10.in-addr.arpa. IN PTR", site, "forwarded")
	site.Recurse = false
	f("1.2.9.10.in-addr.arpa. IN PTR", site, "NXDOMAIN", soaReverse("10.in-addr.arpa."))

	// Names that are never forwarded.
	f("localhost. IN A", loopback, "localhost. 5 IN A 127.0.0.1")
	f("shop.localhost. IN A", loopback, "shop.localhost. 5 IN A 127.0.0.1")
	f("shop.localhost. IN AAAA", inGroup, "shop.localhost. 5 IN AAAA ::1")
	f("shop.localhost. IN TXT", loopback, "NOERROR", soaLocal)
	for name, top := range map[string]string{"printer.local.": "local.", "x.onion.": "onion.", "other.test.": "test.", "x.invalid.": "invalid.", "a.b.alt.": "alt.", "_dns.resolver.arpa.": "resolver.arpa."} {
		f(name+" IN A", loopback, "NXDOMAIN", soaSpecialUse(top))
		f(top+" IN A", loopback, "NOERROR", soaSpecialUse(top)) // its top exists, or nothing below would (RFC 8020)
	}

	// All other names are forwarded, if the client may use the forwarder.
	f("www.example.com. IN A", loopback, "forwarded")
	f("example.com. IN TXT", inGroup, "forwarded")
	f(". IN NS", inGroup, "forwarded")
	f("www.example.com. IN A", View{Class: Local}, "REFUSED")
}

func TestRotation(t *testing.T) {
	z := compileZone(t, shopView())
	var firsts []string
	for turn := range uint32(4) {
		m := new(dns.Msg).SetQuestion("shop.default.internal.", dns.TypeA)
		wire, _ := m.Pack()
		q := Query{Turn: turn}
		q.Parse(wire)
		b, _ := z.Answer(nil, &q, inGroup)
		r := new(dns.Msg)
		if err := r.Unpack(b); err != nil || len(r.Answer) != 2 {
			t.Fatal(err, r)
		}
		firsts = append(firsts, r.Answer[0].(*dns.A).A.String())
	}
	if want := []string{"10.77.0.5", "10.77.0.6", "10.77.0.5", "10.77.0.6"}; !slices.Equal(firsts, want) {
		t.Errorf("first addresses %v, want %v", firsts, want)
	}
}

func TestDomain(t *testing.T) {
	for _, bad := range []string{"", "test", ".", "a..b", "*.micro.test", "mi cro.test", strings.Repeat("a", 64) + ".test"} {
		if _, err := NewZone(bad); cloud.CodeOf(err) != cloud.Invalid {
			t.Errorf("NewZone(%q): %v", bad, err)
		}
	}
	if z, err := NewZone("Corp.Example.ORG."); err != nil || z.Domain() != "corp.example.org" {
		t.Errorf("NewZone: %v", err)
	}
}

// TestRoutersOfOtherNodes has other nodes that live, die, are in another network, and have nothing to say.
func TestRoutersOfOtherNodes(t *testing.T) {
	z, err := NewZone("micro.test", netip.MustParsePrefix("10.77.0.0/20"))
	if err != nil {
		t.Fatal(err)
	}
	v := shopView()
	z = Compile(z, cloud.View{}, v)
	status := func(name string, alive bool, routers ...string) {
		before := v
		v.State = v.State.Apply(v.State.Rev()+1, []cloud.Change{cloud.Put(&cloud.Node{Name: cloud.NodeName(name)})})
		s := &cloud.NodeStatus{Name: cloud.NodeName(name), Alive: alive}
		for _, r := range routers {
			s.Routers = append(s.Routers, netip.MustParseAddr(r))
		}
		v.Instances = v.Instances.WithNode(s)
		z = Compile(z, before, v)
	}
	near := lan
	near.Network = netip.MustParsePrefix("192.168.1.0/24")
	f := func(client View, want ...string) {
		t.Helper()
		text, ok := z.Answer(nil, parseQuery(t, "shop.micro.test.", dns.TypeA), client)
		var m dns.Msg
		if err := m.Unpack(text); !ok || err != nil {
			t.Fatal(ok, err)
		}
		var got []string
		for _, rr := range m.Answer {
			got = append(got, rr.(*dns.A).A.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	status("n1", true)
	f(near, "192.168.1.5")
	status("n3", true, "192.168.1.3", "10.9.9.9")
	status("n2", true, "192.168.1.7", "fd00::7")
	f(near, "192.168.1.5", "192.168.1.3", "192.168.1.7")
	f(loopback, "127.0.0.1")
	f(inGroup, "10.77.0.1")
	status("n3", false)
	f(near, "192.168.1.5", "192.168.1.7")
	status("n3", true, "192.168.1.3")
	f(near, "192.168.1.5", "192.168.1.3", "192.168.1.7")
}
