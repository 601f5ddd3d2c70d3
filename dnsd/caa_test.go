package dnsd

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

// TestCAA: the records of the closest name that has any count, also those behind an alias; a resolver that fails is an
// error and not "none".
func TestCAA(t *testing.T) {
	up := newResolver(t, func(w dns.ResponseWriter, m *dns.Msg) {
		if m.Question[0].Name == "lame.example.org." {
			r := new(dns.Msg).SetRcode(m, dns.RcodeServerFailure)
			_ = w.WriteMsg(r)
			return
		}
		zoneFile(
			`example.com. 60 IN CAA 0 issue "one.example"`,
			`example.com. 60 IN CAA 128 issuewild ";"`,
			`deep.example.com. 60 IN CAA 0 issue "two.example"`,
			`alias.example.net. 60 IN CAA 0 issue "three.example"`,
		)(w, m)
	})
	f, err := NewForwarder(ForwardConfig{Upstreams: []netip.AddrPort{up.addr}})
	if err != nil {
		t.Fatal(err)
	}
	try := func(host cloud.Host, want string) {
		t.Helper()
		at, records, err := f.CAA(t.Context(), host)
		if got := fmt.Sprint(at, " ", records, " ", err); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
	try("example.com", "example.com [{false issue one.example} {true issuewild ;}] <nil>")
	try("a.b.example.com", "example.com [{false issue one.example} {true issuewild ;}] <nil>")
	try("*.example.com", "example.com [{false issue one.example} {true issuewild ;}] <nil>")
	try("*.deep.example.com", "deep.example.com [{false issue two.example}] <nil>")
	try("www.example.org", " [] <nil>")
	try("www.lame.example.org", " [] SERVFAIL")
}
