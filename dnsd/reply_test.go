package dnsd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestReplySizes writes upstream answers for clients with different limits on the size.
func TestReplySizes(t *testing.T) {
	records := func(format string, n int) (rrs []dns.RR) {
		for i := range n {
			rr, err := dns.NewRR(fmt.Sprintf(format, i))
			if err != nil {
				t.Fatal(err)
			}
			rrs = append(rrs, rr)
		}
		return rrs
	}
	addresses, servers := records("many.example. 60 IN A 192.0.2.%d", 35), records("example. 60 IN NS server-%d.example.", 10)
	glue := records("server-%[1]d.example. 60 IN AAAA 2001:db8::%[1]d", 10)
	soa := records("example. 60 IN SOA ns%d."+strings.Repeat("long.", 10)+"example. root.example. 1 2 3 4 30", 1)
	proof := records("n%d."+strings.Repeat("long.", 30)+"example. 60 IN NSEC z.example. A RRSIG NSEC", 12)
	const plain, do = 0, 1 << 16
	for _, tt := range []struct {
		what       string
		an, ns, ar []dns.RR
		size       int // of the client's OPT record; 0 for none
		want       [3]int
		tc         bool
	}{
		{"35 addresses", addresses, nil, nil, plain, [3]int{30, 0, 0}, true},
		{"35 addresses", addresses, nil, nil, 1232, [3]int{35, 0, 0}, false},
		{"an address, servers and glue", addresses[:1], servers, glue, plain, [3]int{1, 10, 0}, false},
		{"an address, many servers", addresses[:1], records("example. 60 IN NS server%d.elsewhere.example.", 40), glue, plain, [3]int{1, 0, 0}, false},
		{"35 addresses, servers and glue", addresses, servers, glue, plain, [3]int{30, 0, 0}, true},
		{"35 addresses, servers and glue", addresses, servers, glue, 1232, [3]int{35, 10, 10}, false},
		{"no name", nil, soa, nil, plain, [3]int{0, 1, 0}, false},
		{"no name, with proof", nil, append(soa, proof...), nil, plain, [3]int{0, 0, 0}, true},
		{"an address, with proof", addresses[:1], proof, nil, do | 512, [3]int{1, 0, 0}, true},
		{"one record that is too long", records("x.example. 60 IN TXT "+strings.Repeat(" \""+strings.Repeat("x", 250)+"\"", 3)+" \"%d\"", 1), nil, nil, plain, [3]int{0, 0, 0}, true},
	} {
		q := new(dns.Msg).SetQuestion("many.example.", dns.TypeA)
		if tt.size != plain {
			q.SetEdns0(uint16(tt.size), tt.size&do != 0)
		}
		wire, _ := q.Pack()
		var parsed Query
		parsed.Parse(wire)
		m := &dns.Msg{Question: q.Question, Answer: tt.an, Ns: tt.ns, Extra: tt.ar}
		r, err := newReply(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, stream := range []bool{false, true} {
			parsed.Stream = stream
			b := r.write(nil, &parsed, -1, func(ttl uint32) uint32 { return ttl - 7 })
			got := new(dns.Msg)
			if err := got.Unpack(b); err != nil {
				t.Errorf("%s: %v", tt.what, err)
				continue
			}
			got.Extra = withoutOPT(got.Extra)
			have, want, tc := [3]int{len(got.Answer), len(got.Ns), len(got.Extra)}, tt.want, tt.tc
			if stream {
				want, tc = [3]int{len(tt.an), len(tt.ns), len(tt.ar)}, false
			}
			if have != want || got.Truncated != tc || !stream && len(b) > max(512, tt.size&0xffff) {
				t.Errorf("%s, client takes %d, TCP %v: %d records in %d bytes, TC %v; want %d, TC %v", tt.what, tt.size, stream, have, len(b), got.Truncated, want, tc)
			}
			for i, section := range [][]dns.RR{got.Answer, got.Ns, got.Extra} {
				for n, rr := range section {
					was := dns.Copy([][]dns.RR{tt.an, tt.ns, tt.ar}[i][n])
					was.Header().Ttl = 53
					if !dns.IsDuplicate(rr, was) || rr.Header().Ttl != 53 {
						t.Errorf("%s: record %s, was %s", tt.what, rr, was)
					}
				}
			}
		}
	}
}

func withoutOPT(rrs []dns.RR) (kept []dns.RR) {
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			kept = append(kept, rr)
		}
	}
	return kept
}

func TestLifetime(t *testing.T) {
	f := func(rcode int, want string, lines ...string) {
		t.Helper()
		m := new(dns.Msg).SetQuestion("name.example.", dns.TypeA)
		m.Rcode = rcode
		for _, line := range lines {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			if rr.Header().Rrtype == dns.TypeSOA {
				m.Ns = append(m.Ns, rr)
			} else {
				m.Answer = append(m.Answer, rr)
			}
		}
		if got := lifetime(m).String(); got != want {
			t.Errorf("%v: %s, want %s", lines, got, want)
		}
	}
	const ok, no = dns.RcodeSuccess, dns.RcodeNameError
	f(ok, "1m0s", "name.example. 60 IN A 192.0.2.1", "name.example. 90 IN A 192.0.2.2")
	f(ok, "30s", "name.example. 30 IN CNAME a.example.", "a.example. 60 IN A 192.0.2.1")
	f(ok, "0s", "name.example. 0 IN A 192.0.2.1")
	f(ok, "0s", "name.example. 2147483648 IN A 192.0.2.1") // RFC 2181, section 8
	f(ok, "1h0m0s", "name.example. 86400 IN A 192.0.2.1")
	f(no, "20s", "example. 60 IN SOA a. b. 1 2 3 4 20")
	f(no, "20s", "example. 20 IN SOA a. b. 1 2 3 4 60")
	f(no, "5m0s", "example. 86400 IN SOA a. b. 1 2 3 4 86400")
	f(no, "0s")
	f(ok, "0s")
	f(ok, "20s", "example. 60 IN SOA a. b. 1 2 3 4 20")
	f(ok, "10s", "name.example. 10 IN CNAME a.example.", "example. 60 IN SOA a. b. 1 2 3 4 20")
	f(ok, "20s", "name.example. 60 IN CNAME a.example.", "example. 60 IN SOA a. b. 1 2 3 4 20")
	f(ok, "0s", "name.example. 60 IN CNAME a.example.")
}

// FuzzUpstream feeds arbitrary upstream messages: the answer to the client must be valid for miekg/dns.
func FuzzUpstream(f *testing.F) {
	q := question{name: "name.example.", qtype: dns.TypeA, class: dns.ClassINET}
	query := q.message(true)
	query.Id = 4711
	for _, lines := range [][]string{
		{"name.example. 60 IN A 192.0.2.1"}, {"name.example. 60 IN CNAME a.example.", "a.example. 60 IN A 10.0.0.1"},
		{"name.example. 60 IN HTTPS 1 . alpn=h2 ipv4hint=192.168.1.1"}, {"name.example. 60 IN SRV 0 0 80 b.example.", "name.example. 60 IN TXT x"}, {},
	} {
		m := new(dns.Msg).SetReply(query)
		for _, line := range lines {
			rr, err := dns.NewRR(line)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		m.Compress = true
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	forwarder, err := NewForwarder(ForwardConfig{ResolvConf: "/nonexistent"})
	if err != nil {
		f.Fatal(err)
	}
	client := parseQuery(f, "NAME.example.", dns.TypeA)
	f.Fuzz(func(t *testing.T, wire []byte) {
		answer, ok := readAnswer(wire, query)
		if !ok || rcodeOf(answer) != dns.RcodeSuccess && rcodeOf(answer) != dns.RcodeNameError {
			return
		}
		r, err := forwarder.newReply(q, answer)
		if err != nil {
			return
		}
		for _, client.Stream = range []bool{false, true} {
			b := r.write(nil, client, -1, func(ttl uint32) uint32 { return ttl })
			got := new(dns.Msg)
			if err := got.Unpack(b); err != nil {
				t.Fatalf("answer % x: %v", b, err)
			}
			if !client.Stream && len(b) > minUDP || got.Id != client.ID || len(got.Question) != 1 || got.Question[0].Name != "NAME.example." {
				t.Fatalf("%d bytes, %v", len(b), got)
			}
			for _, rr := range got.Answer {
				if a, ok := rr.(*dns.A); ok && a.A.IsPrivate() {
					t.Fatalf("a private address: %v", got)
				}
			}
		}
	})
}
