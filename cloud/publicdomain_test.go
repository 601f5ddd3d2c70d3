package cloud

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPublicDomain: what a domain may be, which records lead the world to it, and what keeps it.
func TestPublicDomain(t *testing.T) {
	at := Stamp{At: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), By: "anna"}
	s := NewState().Apply(1, []Change{
		Put(&Settings{Domain: "micro.test"}), Put(&Group{Name: "default"}), Put(&Group{Name: "qa"}),
		Put(&VirtualHost{Host: "*.example.com", Group: "default", Exposure: ExposedPublic, Routes: []Route{{Path: "/", Targets: []Target{{ReleaseRef: AppRef{"default", "shop"}.Release(0)}}}}}),
	})
	add := func(d PublicDomain, want string) {
		t.Helper()
		changes, err := s.AddDomain(d, at)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", d.Name, err, want)
		}
		if err == nil {
			s = s.Apply(s.Rev()+1, changes)
		}
	}
	add(PublicDomain{Name: "example.com", Group: "none"}, "no group")
	add(PublicDomain{Name: "*.example.com", Group: "default"}, "is a wildcard")
	add(PublicDomain{Name: "shop.micro.test", Group: "default"}, "private domain")
	add(PublicDomain{Name: "com", Group: "default"}, "single label")
	add(PublicDomain{Name: Host(strings.Repeat("a.", 120) + "com"), Group: "default"}, "253")
	add(PublicDomain{Name: "example.org", Group: "default", Via: "example.com"}, "no domain")
	add(PublicDomain{Name: "example.com", Group: "default"}, "")
	add(PublicDomain{Name: "example.com", Group: "qa"}, "another group")
	add(PublicDomain{Name: "example.org", Group: "qa", Via: "example.com"}, "no domain")
	add(PublicDomain{Name: "example.org", Group: "default", Via: "example.com", Server: "ns.example.com"}, "or answers by that of another")
	add(PublicDomain{Name: "example.org", Group: "default", Via: "example.com"}, "")
	add(PublicDomain{Name: "example.net", Group: "default", Via: "example.org"}, "no delegation of its own")
	add(PublicDomain{Name: "example.com", Group: "default", Via: "example.com"}, "no delegation of its own")
	add(PublicDomain{Name: "b.example.com", Group: "default", Server: "ns1.example.net"}, "")
	add(PublicDomain{Name: "example.com", Group: "default", Via: "b.example.com"}, "example.org answers by example.com")

	records := func(name Host, addrs ...string) (list []string) {
		d, _ := s.PublicDomain(name)
		var parsed []netip.Addr
		for _, a := range addrs {
			parsed = append(parsed, netip.MustParseAddr(a))
		}
		for _, r := range d.Records(parsed) {
			list = append(list, string(r.Name)+" "+r.Type+" "+r.Value)
		}
		return list
	}
	if got := records("example.com", "203.0.113.5", "2001:db8::5"); !slices.Equal(got, []string{
		"_acme-challenge.example.com NS micro-dns.example.com", "micro-dns.example.com A 203.0.113.5", "micro-dns.example.com AAAA 2001:db8::5",
	}) {
		t.Errorf("got %q", got)
	}
	if got := records("b.example.com"); !slices.Equal(got, []string{"_acme-challenge.b.example.com NS ns1.example.net", "ns1.example.net A "}) {
		t.Errorf("got %q", got)
	}
	if got := records("example.org"); !slices.Equal(got, []string{"_acme-challenge.example.org CNAME example.org._acme-challenge.example.com"}) {
		t.Errorf("got %q", got)
	}
	for host, want := range map[Host]Host{"*.example.com": "example.com", "example.com": "example.com", "www.example.com": "", "x.b.example.com": "", "*.b.example.com": "b.example.com"} {
		if d, ok := s.DomainOf(host); ok != (want != "") || ok && d.Name != want {
			t.Errorf("%s: got %v", host, d)
		}
	}

	remove := func(g GroupName, h Host, force bool, want string) {
		t.Helper()
		changes, err := s.RemoveDomain(g, h, force)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", h, err, want)
		}
		if err == nil {
			s = s.Apply(s.Rev()+1, changes)
		}
	}
	if _, err := s.DeleteGroup("qa"); err != nil {
		t.Error(err)
	}
	remove("qa", "example.com", true, "no domain")
	remove("default", "example.com", true, "example.org answers by example.com")
	remove("default", "example.org", false, "")
	remove("default", "example.com", false, "*.example.com, which is mapped")
	remove("default", "example.com", true, "")
	add(PublicDomain{Name: "example.com", Group: "qa"}, "")
	if _, err := s.DeleteGroup("qa"); err == nil || !strings.Contains(err.Error(), "owns domain example.com") {
		t.Errorf("got %v", err)
	}
}
