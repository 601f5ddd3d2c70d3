package addresses

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// listening is a listener that has an address and nothing else.
type listening struct {
	net.Listener
	at string
}

func (l listening) Addr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(l.at)) }

// A public host is shown with the public listener's port, and an internal one with the internal port.
func TestURLsHaveTheirListenersPort(t *testing.T) {
	b := &Bound{Domain: "micro.test", Internal: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8080")}}
	f := func(got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	const host = cloud.Host("www.example.com")
	f(b.URLs("shop.micro.test"), "http://shop.localhost:8080", "http://shop.micro.test:8080")
	f(b.PublicURLs(host), "http://www.example.com:8080") // nothing public listens
	b.Public = []net.Listener{listening{at: "192.0.2.1:80"}, listening{at: "192.0.2.2:80"}, listening{at: "192.0.2.1:8000"}}
	f(b.PublicURLs(host), "http://www.example.com", "http://www.example.com:8000")
	b.PublicHTTPS = []net.Listener{listening{at: "[::]:443"}}
	f(b.PublicURLs(host), "http://www.example.com", "http://www.example.com:8000", "https://www.example.com")
	f(b.URLs(host), "http://www.example.com:8080")
}
