package dnsd

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// wayOut is a firewall by which the container at 127.0.0.2 reaches api.example alone.
type wayOut struct {
	mu   sync.Mutex
	told []string
}

func (w *wayOut) Closed(client netip.Addr) bool { return client == netip.MustParseAddr("127.0.0.2") }

func (w *wayOut) MayLookUp(_ netip.Addr, name string) bool { return name == "api.example" }

func (w *wayOut) Resolved(client netip.Addr, name string, addrs []netip.Addr, life time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, fmt.Sprint(client, " ", name, " ", addrs, " ", life))
}

func (w *wayOut) takeTold() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := strings.Join(w.told, "; ")
	w.told = nil
	return told
}

// TestEgress checks that a closed container looks up allowed names alone, and that the firewall is told what it gets,
// from the upstream and from the cache. The upstream never hears of other names.
func TestEgress(t *testing.T) {
	up := newResolver(t, zoneFile("api.example. 300 IN A 192.0.2.1", "api.example. 300 IN A 192.0.2.2", "other.example. 60 IN A 192.0.2.3"))
	f, err := NewForwarder(ForwardConfig{Upstreams: []netip.AddrPort{up.addr}})
	if err != nil {
		t.Fatal(err)
	}
	w := &wayOut{}
	s := startServer(t, func(c *Config) { c.Forward, c.Egress = f, w })
	for _, network := range []string{"udp", "tcp"} {
		for range 2 { // the second time from the cache
			r := query(t, s, network, "127.0.0.2", "API.example. A")
			if got, told := text(r), w.takeTold(); !strings.Contains(got, "192.0.2.2") || !strings.HasPrefix(told, "127.0.0.2 api.example [192.0.2.") || !strings.Contains(told, "192.0.2.2") {
				t.Errorf("%s: %s, told %q", network, got, told)
			}
		}
		before := up.queries.Load()
		for _, name := range []string{"other.example.", "secret.api.example."} {
			r := query(t, s, network, "127.0.0.2", name+" A")
			if r.Rcode != dns.RcodeRefused || w.takeTold() != "" {
				t.Errorf("%s %s: %s", network, name, text(r))
			}
		}
		if n := up.queries.Load() - before; n != 0 {
			t.Errorf("%s: the upstream heard %d questions", network, n)
		}
		if r := query(t, s, network, "127.0.0.2", "shop.micro.test. A"); r.Rcode != dns.RcodeSuccess || len(r.Answer) == 0 {
			t.Errorf("%s: a name inside: %s", network, text(r))
		}
		if r := query(t, s, network, "127.0.0.3", "other.example. A"); r.Rcode != dns.RcodeSuccess || w.takeTold() != "" {
			t.Errorf("%s: an open container: %s", network, text(r))
		}
	}
}
