package dnsd

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

// TestWire checks the answer to unusual and malformed messages.
func TestWire(t *testing.T) {
	z := compileZone(t, shopView())
	const header, question = "\x12\x34\x01\x00", "\x04shop\x05micro\x04test\x00\x00\x01\x00\x01"
	f := func(what, raw, want string) {
		t.Helper()
		var q Query
		got := "silence"
		if q.Parse([]byte(raw)) {
			b, ours := z.Answer(nil, &q, loopback)
			if !ours {
				b = []byte("\x12\x34\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
			}
			r := new(dns.Msg)
			if err := r.Unpack(b); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if r.Id != 0x1234 {
				t.Errorf("%s: ID %x", what, r.Id)
			}
			rcode := r.Rcode
			got = dns.RcodeToString[rcode]
			if opt := r.IsEdns0(); opt != nil {
				got += fmt.Sprintf(" edns%d %d", opt.Version(), opt.UDPSize())
				if opt.Do() {
					got += " do"
				}
			}
			if len(r.Answer) > 0 {
				got += fmt.Sprintf(" %d", len(r.Answer))
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	counts := func(qd, an, ns, ar byte) string {
		return string([]byte{0, qd, 0, an, 0, ns, 0, ar})
	}
	opt := func(size uint16, version, flags byte, options string) string {
		b := []byte{0, 0, 41, 0, 0, 0, version, flags, 0, 0, byte(len(options))}
		binary.BigEndian.PutUint16(b[3:], size)
		return string(b) + options
	}
	f("plain", header+counts(1, 0, 0, 0)+question, "NOERROR 1")
	f("nothing", "", "silence")
	f("less than a header", header+"\x00\x01", "silence")
	f("an answer", "\x12\x34\x81\x80"+counts(1, 0, 0, 0)+question, "silence")
	f("header only", header+counts(0, 0, 0, 0), "FORMERR")
	f("two questions", header+counts(2, 0, 0, 0)+question+question, "FORMERR")
	f("question missing", header+counts(1, 0, 0, 0), "FORMERR")
	f("question cut", header+counts(1, 0, 0, 0)+question[:len(question)-1], "FORMERR")
	f("label cut", header+counts(1, 0, 0, 0)+"\x3fabc", "FORMERR")
	f("label type 0x40", header+counts(1, 0, 0, 0)+"\x41a\x00\x00\x01\x00\x01", "FORMERR")
	f("pointer to itself", header+counts(1, 0, 0, 0)+"\xc0\x0c\x00\x01\x00\x01", "FORMERR")
	f("name of 256 bytes", header+counts(1, 0, 0, 0)+strings.Repeat("\x3f"+strings.Repeat("a", 63), 4)+"\x00\x00\x01\x00\x01", "FORMERR")
	f("bytes behind", header+counts(1, 0, 0, 0)+question+"x", "FORMERR")
	f("record promised", header+counts(1, 0, 0, 1)+question, "FORMERR")
	f("opcode NOTIFY", "\x12\x34\x21\x00"+counts(1, 0, 0, 0)+question, "NOTIMP")
	f("opcode UPDATE", "\x12\x34\x28\x00"+counts(1, 0, 0, 0)+question, "NOTIMP")
	f("opcode 15", "\x12\x34\x78\x00"+counts(0, 0, 0, 0), "NOTIMP")

	f("EDNS", header+counts(1, 0, 0, 1)+question+opt(4096, 0, 0, ""), "NOERROR edns0 1232 1")
	f("EDNS DO", header+counts(1, 0, 0, 1)+question+opt(4096, 0, 0x80, ""), "NOERROR edns0 1232 do 1")
	f("EDNS with a cookie", header+counts(1, 0, 0, 1)+question+opt(4096, 0, 0, "\x00\x0a\x00\x0812345678"), "NOERROR edns0 1232 1")
	// miekg/dns calls rcode 16 BADSIG, here it is BADVERS.
	f("EDNS version 1", header+counts(1, 0, 0, 1)+question+opt(4096, 1, 0, ""), "BADSIG edns0 1232")
	f("EDNS size 0", header+counts(1, 0, 0, 1)+question+opt(0, 0, 0, ""), "NOERROR edns0 1232 1")
	f("EDNS option cut", header+counts(1, 0, 0, 1)+question+opt(4096, 0, 0, "\x00\x0a\x00\x0912345678"), "FORMERR")
	f("EDNS twice", header+counts(1, 0, 0, 2)+question+opt(4096, 0, 0, "")+opt(4096, 0, 0, ""), "FORMERR edns0 1232")
	f("EDNS with a name", header+counts(1, 0, 0, 1)+question+"\x01a"+opt(4096, 0, 0, ""), "FORMERR")
	f("EDNS among answers", header+counts(1, 1, 0, 0)+question+opt(4096, 0, 0, ""), "FORMERR")
	// Errors are answered with an OPT record too if the query has one (RFC 6891, section 7).
	f("EDNS and bytes behind", header+counts(1, 0, 0, 1)+question+opt(4096, 0, 0x80, "")+"x", "FORMERR edns0 1232 do")
	f("EDNS and no question", header+counts(0, 0, 0, 1)+opt(4096, 0, 0, ""), "FORMERR edns0 1232")
	f("EDNS and two questions", header+counts(2, 0, 0, 1)+question+question+opt(4096, 0, 0, ""), "FORMERR edns0 1232")
	f("EDNS and a question cut", header+counts(2, 0, 0, 1)+question+"\x3fabc", "FORMERR")
	f("EDNS and opcode NOTIFY", "\x12\x34\x21\x00"+counts(1, 0, 0, 1)+question+opt(4096, 0, 0, ""), "NOTIMP edns0 1232")
	f("EDNS and opcode UPDATE", "\x12\x34\x28\x00"+counts(1, 0, 1, 1)+question+"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x7f\x00\x00\x01"+opt(4096, 0, 0x80, ""), "NOTIMP edns0 1232 do")
	f("EDNS and opcode 15, nothing else", "\x12\x34\x78\x00"+counts(0, 0, 0, 1)+opt(4096, 0, 0, ""), "NOTIMP edns0 1232")
	f("another record behind", header+counts(1, 0, 1, 0)+question+"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x7f\x00\x00\x01", "NOERROR 1")
}

// TestSizes asks for a name with more addresses than fit into an answer.
func TestSizes(t *testing.T) {
	v := shopView()
	r7 := release(app("default", "shop", 7), 7)
	for i := range 400 {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 78, byte(i >> 8), byte(i)}), 8080)
		v.Instances = v.Instances.With(instance(r7, 10+i, addr.String(), cloud.InstanceReady))
	}
	z := compileZone(t, v)
	for _, rtype := range []uint16{dns.TypeA, dns.TypeSRV} {
		all := 402
		if rtype == dns.TypeSRV {
			all++
		}
		for _, size := range []uint16{0, 100, 512, 700, 1232, 4096} {
			m := new(dns.Msg).SetQuestion("shop.default.internal.", rtype)
			limit := 512
			if size > 0 {
				m.SetEdns0(size, false)
				limit = min(max(int(size), 512), maxUDP)
			}
			wire, _ := m.Pack()
			var q Query
			q.Parse(wire)
			b, _ := z.Answer(nil, &q, inGroup)
			r := new(dns.Msg)
			if err := r.Unpack(b); err != nil || len(b) > limit || !r.Truncated || len(r.Answer) == 0 {
				t.Errorf("size %d: %d bytes, %d records, TC %v, %v", size, len(b), len(r.Answer), r.Truncated, err)
			}
			q.Stream = true
			b, _ = z.Answer(nil, &q, inGroup)
			if err := r.Unpack(b); err != nil || r.Truncated || len(r.Answer) != all {
				t.Errorf("by TCP: %d records, TC %v, %v", len(r.Answer), r.Truncated, err)
			}
		}
	}
}

func withCookie(m *dns.Msg) *dns.Msg {
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: strings.Repeat("2464c4abcf10c957", 3)}}
	return m
}

// FuzzQuery feeds arbitrary queries: Parse must agree with miekg/dns, and the answer must be valid for it.
func FuzzQuery(f *testing.F) {
	for _, m := range []*dns.Msg{
		new(dns.Msg).SetQuestion("shop.micro.test.", dns.TypeA),
		new(dns.Msg).SetQuestion("shop.default.internal.", dns.TypeSRV),
		new(dns.Msg).SetQuestion("a.b.localhost.", dns.TypeAAAA).SetEdns0(1232, true),
		new(dns.Msg).SetQuestion("WWW.example.com.", dns.TypeANY).SetEdns0(512, false),
		new(dns.Msg).SetQuestion("5.0.77.10.in-addr.arpa.", dns.TypePTR), new(dns.Msg).SetQuestion("8.0.0.7.7.d.f.ip6.arpa.", dns.TypeSOA),
		new(dns.Msg).SetQuestion("_http._tcp.shop.default.internal.", dns.TypeSRV), new(dns.Msg).SetQuestion("x.resolver.arpa.", dns.TypeSVCB),
		new(dns.Msg).SetQuestion("b.dev.micro.test.", dns.TypeHTTPS), withCookie(new(dns.Msg).SetQuestion("any.dev.micro.test.", dns.TypeA)),
		new(dns.Msg).SetQuestion("_acme-challenge.example.com.", dns.TypeTXT), new(dns.Msg).SetQuestion("micro-check-1._acme-challenge.example.com.", dns.TypeTXT),
		new(dns.Msg).SetQuestion("org._acme-challenge.example.com.", dns.TypeNS).SetEdns0(1232, true),
		new(dns.Msg).SetUpdate("micro.test."), new(dns.Msg).SetAxfr("micro.test."), new(dns.Msg).SetNotify("micro.test."),
	} {
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	z := compileZone(f, delegated())
	f.Fuzz(func(t *testing.T, wire []byte) {
		var q Query
		if !q.Parse(wire) {
			return
		}
		if m := new(dns.Msg); q.rcode == dns.RcodeSuccess && m.Unpack(wire) == nil {
			name, _, err := dns.UnpackDomainName(q.Name(), 0)
			if err != nil || len(m.Question) != 1 || !strings.EqualFold(name, m.Question[0].Name) || q.Type != m.Question[0].Qtype || q.Class != m.Question[0].Qclass || q.ID != m.Id {
				t.Fatalf("read %q %d %d, miekg/dns %v", name, q.Type, q.Class, m.Question)
			}
			if opt := m.IsEdns0(); (opt != nil) != q.EDNS || opt != nil && (opt.Version() != q.Version || max(opt.UDPSize(), 512) != q.Size || opt.Do() != q.DO) {
				t.Fatalf("read EDNS %v %d %d %v, miekg/dns %v", q.EDNS, q.Version, q.Size, q.DO, opt)
			}
		}
		site := loopback
		site.UpstreamNetworks = []netip.Prefix{netip.MustParsePrefix("10.64.0.0/10"), netip.MustParsePrefix("fd00::/8")}
		q.answerCookie = q.cookie // the longest possible
		world := View{Class: World, Challenges: texts{"example.com": {strings.Repeat("a", 300), "b"}}}
		for _, v := range []View{loopback, site, lan, inGroup, newborn, outside, world} {
			b, ours := z.Answer(nil, &q, v)
			if !ours {
				if v.Class == Outside || v.Class == World {
					t.Fatal("forwarded for an outside client")
				}
				continue
			}
			r := new(dns.Msg)
			if err := r.Unpack(b); err != nil {
				t.Fatalf("answer % x: %v", b, err)
			}
			if q.rcode == dns.RcodeSuccess && r.Authoritative && len(r.Answer) == 0 && len(r.Ns) != 1 {
				t.Fatalf("a negative answer without an SOA record: %v", r)
			}
			if q.EDNS != (r.IsEdns0() != nil) {
				t.Fatalf("EDNS in the query: %v, answer %v", q.EDNS, r)
			}
			if !r.Response || r.Id != q.ID || len(b) > maxUDP || v.Class == Outside && (len(r.Answer) > 0 || len(r.Ns) > 0) {
				t.Fatalf("answer %v", r)
			}
		}
	})
}
