package dnsd

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

// texts are the answers of challenges, by domain.
type texts map[cloud.Host][]string

func (t texts) Texts(domain cloud.Host) []string { return t[domain] }
func (t texts) Proof(name string) string         { return "proof of " + name }

// delegated is a view of a cloud with public domains.
func delegated() cloud.View {
	v := shopView()
	v.State = v.State.Apply(43, []cloud.Change{
		cloud.Put(&cloud.PublicDomain{Name: "example.com", Group: "default", Server: "micro-dns.example.com", Created: born}),
		cloud.Put(&cloud.PublicDomain{Name: "deep.example.com", Group: "default", Server: "ns.example.net", Created: born}),
		cloud.Put(&cloud.PublicDomain{Name: "www.example.org", Group: "default", Via: "example.com", Created: born}),
		cloud.Put(&cloud.PublicDomain{Name: "lost.example.org", Group: "default", Via: "gone.example.com", Created: born}),
	})
	return v
}

// TestChallengeZones: what the world is answered, and nothing else.
func TestChallengeZones(t *testing.T) {
	z := compileZone(t, delegated())
	answers := texts{"example.com": {"one", "two"}, "www.example.org": {"three"}}
	world := View{Class: World, Challenges: answers}
	f := func(v View, question, want string) {
		t.Helper()
		r, ours := ask(t, z, question, v, nil)
		if !ours {
			t.Errorf("%s: is forwarded", question)
			return
		}
		if r.RecursionAvailable && v.Class == World {
			t.Errorf("%s: recursion is offered", question)
		}
		if got := text(r); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", question, got, want)
		}
	}
	const soa = "_acme-challenge.example.com. 1 IN SOA micro-dns.example.com. hostmaster.example.com. 1795390200 3600 600 86400 1"
	const none = "NOERROR\n" + soa
	f(world, "_acme-challenge.example.com. IN TXT", "_acme-challenge.example.com. 1 IN TXT \"one\"\n_acme-challenge.example.com. 1 IN TXT \"two\"")
	f(world, "_ACME-challenge.Example.COM. IN TXT", "_ACME-challenge.Example.COM. 1 IN TXT \"one\"\n_ACME-challenge.Example.COM. 1 IN TXT \"two\"")
	f(world, "_acme-challenge.example.com. IN NS", "_acme-challenge.example.com. 300 IN NS micro-dns.example.com.")
	f(world, "_acme-challenge.example.com. IN SOA", strings.Replace(soa, ". 1 IN", ". 5 IN", 1))
	f(world, "_acme-challenge.example.com. IN A", none)
	f(world, "_acme-challenge.example.com. IN CAA", none)
	f(world, "_acme-challenge.example.com. IN ANY", `_acme-challenge.example.com. 5 IN HINFO "RFC8482" ""`)
	f(world, "_acme-challenge.example.com. IN AXFR", "REFUSED")
	f(world, "_acme-challenge.deep.example.com. IN TXT", strings.NewReplacer("micro-dns.example.com", "ns.example.net", "e.example.com", "e.deep.example.com", "r.example.com", "r.deep.example.com").Replace(none))
	// A resolver that asks for one label more at a time must not be told that there is nothing.
	f(world, "org._acme-challenge.example.com. IN NS", none)
	f(world, "example.org._acme-challenge.example.com. IN A", none)
	f(world, "www.example.org._acme-challenge.example.com. IN TXT", "www.example.org._acme-challenge.example.com. 1 IN TXT \"three\"")
	f(world, "x.example.org._acme-challenge.example.com. IN TXT", "NXDOMAIN\n"+soa)
	f(world, "micro-check-00ff._acme-challenge.example.com. IN TXT", `micro-check-00ff._acme-challenge.example.com. 1 IN TXT "proof of micro-check-00ff._acme-challenge.example.com"`)
	f(world, "micro-check-._acme-challenge.example.com. IN TXT", "NXDOMAIN\n"+soa)
	f(world, "a.micro-check-00ff._acme-challenge.example.com. IN TXT", "NXDOMAIN\n"+soa)
	for _, name := range []string{
		"example.com.", "www.example.com.", "_acme-challenge.www.example.com.", "_acme-challenge.example.org.", "_acme-challenge.gone.example.com.",
		"x_acme-challenge.example.com.", "_acme-challenge.", "shop.micro.test.", "shop.default.internal.", "localhost.", "1.0.0.127.in-addr.arpa.", ".",
	} {
		f(world, name+" IN A", "REFUSED")
		f(world, name+" IN TXT", "REFUSED")
	}
	// Inside it is the same, beside everything else; outside of it nobody is answered.
	inside := loopback
	inside.Challenges = answers
	f(inside, "www.example.org._acme-challenge.example.com. IN TXT", "www.example.org._acme-challenge.example.com. 1 IN TXT \"three\"")
	f(inside, "shop.micro.test. IN A", "shop.micro.test. 5 IN A 127.0.0.1")
	f(outside, "_acme-challenge.example.com. IN TXT", "REFUSED")
	f(View{Class: World}, "_acme-challenge.example.com. IN TXT", none)

	// A domain that was removed is none.
	v := delegated()
	next := v
	domain, _ := v.State.PublicDomain("example.com")
	next.State = v.State.Apply(44, []cloud.Change{cloud.Delete(domain)})
	z = Compile(z, v, next)
	f(world, "_acme-challenge.example.com. IN TXT", "REFUSED")
	f(world, "www.example.org._acme-challenge.example.com. IN TXT", "REFUSED")
}

// TestPublicServer: a server for the world answers any client, by UDP and TCP, as long as its answers are not too many.
func TestPublicServer(t *testing.T) {
	answers := texts{"example.com": {"one"}}
	s := startServer(t, func(c *Config) {
		c.Public, c.Networks, c.Groups, c.Rate, c.Challenges, c.Zone = true, nil, nil, 5, answers, compileZone(t, delegated())
	})
	for _, network := range []string{"udp", "tcp"} {
		for _, source := range []string{"127.0.0.1", "127.0.1.9"} {
			m := new(dns.Msg).SetQuestion("_acme-challenge.example.com.", dns.TypeTXT)
			r, _, err := clientFrom(network, source).Exchange(m, s.Addrs()[0].String())
			if err != nil || text(r) != "_acme-challenge.example.com. 1 IN TXT \"one\"" || !r.Authoritative {
				t.Errorf("%s %s: %v %v", network, source, r, err)
			}
		}
	}
	cut := 0
	for range 20 {
		m := new(dns.Msg).SetQuestion("_acme-challenge.example.com.", dns.TypeTXT)
		c := clientFrom("udp", "127.0.2.9")
		c.Timeout = 200 * 1e6
		if r, _, err := c.Exchange(m, s.Addrs()[0].String()); err != nil || r.Truncated {
			cut++
		}
	}
	if cut < 10 {
		t.Errorf("only %d of 20 answers were held back", cut)
	}
	forward, err := NewForwarder(ForwardConfig{Upstreams: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}})
	if err != nil {
		t.Fatal(err)
	}
	defer forward.close()
	if _, err := New(Config{Public: true, Forward: forward, Zone: s.Zone(), Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}); err == nil {
		t.Error("a server for the world may look up names for it")
	}
}

// world is what resolvers answer, by name and type: records, or "SERVFAIL".
type world map[string]string

func (w world) ask(_ context.Context, _ *upstream, q question) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(q.name, q.qtype)
	answer, ok := w[q.name+" "+dns.TypeToString[q.qtype]]
	if strings.HasPrefix(q.name, probePrefix) {
		name, _, _ := strings.Cut(q.name, ".")
		answer, ok = w["probe"]
		answer = strings.ReplaceAll(answer, "NAME", name)
		answer = strings.ReplaceAll(answer, "PROBE", q.name)
	}
	switch {
	case answer == "SERVFAIL":
		return nil, errors.New("SERVFAIL")
	case !ok:
		m.Rcode = dns.RcodeNameError
		rr, err := dns.NewRR("example.com. 3600 IN SOA ns.example.com. hostmaster.example.com. 1 1 1 1 600")
		m.Ns = []dns.RR{rr}
		return m, err
	}
	for line := range strings.SplitSeq(answer, "|") {
		rr, err := dns.NewRR(line)
		if err != nil {
			return nil, err
		}
		m.Answer = append(m.Answer, rr)
	}
	return m, nil
}

// TestSee: for each way in which a domain can be set up wrongly, the record that is wrong is named.
func TestSee(t *testing.T) {
	direct := &cloud.PublicDomain{Name: "example.com", Server: "micro-dns.example.com"}
	via := &cloud.PublicDomain{Name: "example.org", Via: "example.com"}
	const (
		ns    = "_acme-challenge.example.com. NS"
		cname = "_acme-challenge.example.org. CNAME"
		a     = "micro-dns.example.com. A"
		good  = "PROBE 1 IN TXT \"proof of NAME._acme-challenge.example.com\""
	)
	own := []netip.Addr{netip.MustParseAddr("203.0.113.5")}
	f := func(d *cloud.PublicDomain, w world, addrs []netip.Addr, listening, reached bool, want ...string) {
		t.Helper()
		forward, err := NewForwarder(ForwardConfig{Upstreams: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}})
		if err != nil {
			t.Fatal(err)
		}
		defer forward.close()
		forward.ask = w.ask
		states, got := RecordStates(d, forward.See(t.Context(), d, texts{}), addrs, listening)
		var lines []string
		for _, s := range states {
			lines = append(lines, map[bool]string{true: "ok ", false: "bad "}[s.OK]+s.Type+": "+s.Text)
		}
		if got != reached || strings.Join(lines, "\n") != strings.Join(want, "\n") {
			t.Errorf("%v: reached %v\n%s", w, got, strings.Join(lines, "\n"))
		}
	}
	nsHere, aHere := ns+" micro-dns.example.com.", a+" 203.0.113.5"
	f(direct, world{ns: nsHere, a: aHere, "probe": good}, own, true, true, "ok NS: it leads here", "ok A: it leads here")
	f(direct, world{ns: nsHere, a: a + " 198.51.100.7", "probe": good}, own, true, true, "ok NS: it leads here", "ok A: it leads here")
	f(direct, world{}, own, true, false, "bad NS: it is missing; resolvers may remember that for 10m0s", "bad A: it is missing; resolvers may remember that for 10m0s")
	f(direct, world{a: aHere}, own, true, false, "bad NS: it is missing; resolvers may remember that for 10m0s", "ok A: it is there")
	f(direct, world{ns: ns + " ns1.provider.example.", a: aHere}, own, true, false, "bad NS: it is ns1.provider.example instead", "ok A: it is there")
	f(direct, world{ns: "SERVFAIL", "probe": "SERVFAIL"}, own, true, false,
		"bad NS: it is perhaps there, and the DNS server behind it does not answer: SERVFAIL", "bad A: it is missing; resolvers may remember that for 10m0s")
	f(direct, world{ns: "SERVFAIL", a: aHere, "probe": "SERVFAIL"}, own, true, false,
		"bad NS: it is perhaps there, and the DNS server behind it does not answer: SERVFAIL", "bad A: the DNS server at this address does not answer the world's resolvers: SERVFAIL")
	f(direct, world{ns: "SERVFAIL", a: aHere, "probe": "SERVFAIL"}, own, false, false,
		"bad NS: it is perhaps there, and the DNS server behind it does not answer: SERVFAIL", "bad A: no DNS server for the world runs on this node")
	f(direct, world{ns: nsHere, a: aHere, "probe": "PROBE 1 IN TXT forged"}, own, true, false, "ok NS: it is there", "bad A: another DNS server answers at this address")
	f(direct, world{ns: nsHere, a: a + " 198.51.100.7"}, own, true, false, "ok NS: it is there", "bad A: it is 198.51.100.7 instead")
	f(direct, world{ns: nsHere, a: a + " 198.51.100.7", "probe": "SERVFAIL"}, nil, true, false, "ok NS: it is there", "bad A: the DNS server at this address does not answer the world's resolvers: SERVFAIL")
	f(via, world{cname: cname + " example.org._acme-challenge.example.com.", "probe": good}, own, true, true, "ok CNAME: it is there")
	f(via, world{"probe": good}, own, true, true, "bad CNAME: it is missing; resolvers may remember that for 10m0s")
	f(via, world{cname: cname + " elsewhere.example.", "probe": good}, own, true, true, "bad CNAME: it is elsewhere.example instead")
	f(via, world{cname: cname + " example.org._acme-challenge.example.com."}, own, true, false, "ok CNAME: it is there")
}
