package router

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// behind makes a router that trusts proxies on this machine, and whose neighbours are in 10.0.0.0/8.
func behind(t testing.TB, cfg Config) *front {
	cfg.TrustedProxies = append(cfg.TrustedProxies, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24"))
	cfg.Local = func(a netip.Addr) bool { return a.IsLoopback() || a.Is4() && a.As4()[0] == 10 }
	f := newFront(t, cfg)
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For")+" "+r.Header.Get("X-Forwarded-Proto"))
	}))
	vhost := &cloud.VirtualHost{Host: "www.example.com", Group: cloud.DefaultGroup, Exposure: cloud.ExposedPublic}
	f.world.put(vhost.With(cloud.Route{Path: "/", Targets: parseTargets(t, []string{"shop"})}))
	f.swap()
	return f
}

// TestTrueClient: everything goes by the client that a trusted proxy names, and by nobody's else claim.
func TestTrueClient(t *testing.T) {
	f := behind(t, Config{})
	try := func(fields, client, scheme string) {
		t.Helper()
		var list []string
		if fields != "" {
			list = strings.Split(fields, "|")
		}
		dial(t, f.addr).send(get("/", "www.example.com", list...)).answer("GET")
		x := f.seen.next(t)
		if got := x.Client.Addr().String(); got != client || x.Scheme != scheme {
			t.Errorf("%s: the client is %s by %s, want %s by %s", fields, got, x.Scheme, client, scheme)
		}
	}
	try("", "127.0.0.1", "http")
	try("X-Forwarded-For: 198.51.100.7", "198.51.100.7", "http")
	try("X-Forwarded-For: 6.6.6.6, 198.51.100.7", "198.51.100.7", "http")
	try("X-Forwarded-For: 6.6.6.6|X-Forwarded-For: 198.51.100.7, 192.0.2.9", "198.51.100.7", "http")
	try("X-Forwarded-For: 6.6.6.6, evil, 192.0.2.9", "192.0.2.9", "http")
	try("X-Forwarded-For: evil", "127.0.0.1", "http")
	try("X-Forwarded-For: 198.51.100.7:4711", "198.51.100.7", "http")
	try("X-Forwarded-For: [2001:DB8::1]:80|X-Forwarded-Proto: https", "2001:db8::1", "https")
	try("X-Forwarded-For: 2001:db8::1|X-Forwarded-Proto: ftp", "2001:db8::1", "http")
	try("X-Forwarded-For: ::ffff:198.51.100.7", "198.51.100.7", "http")
	try("X-Forwarded-For: fe80::1%eth0", "127.0.0.1", "http")
	try("X-Forwarded-For: 192.0.2.8, 192.0.2.9", "192.0.2.8", "http")
	try(`Forwarded: for=6.6.6.6, for="[2001:db8::2]:99";proto=https`, "2001:db8::2", "https")
	try("Forwarded: for=6.6.6.6|X-Forwarded-For: 198.51.100.7", "198.51.100.7", "http")
	try("Forwarded: for=_hidden", "127.0.0.1", "http")
}

// TestTrueClientsView: a client outside gets public hosts alone, also where its proxy asks an internal address.
func TestTrueClientsView(t *testing.T) {
	f := behind(t, Config{})
	try := func(host, client string, want int) {
		t.Helper()
		res, _ := dial(t, f.addr).send(get("/", host, "X-Forwarded-For: "+client)).answer("GET")
		if res.StatusCode != want {
			t.Errorf("%s for %s: %d, want %d", host, client, res.StatusCode, want)
		}
	}
	try("www.example.com", "198.51.100.7", 200)
	try(shopHost, "198.51.100.7", 404)
	try(shopHost, "10.1.2.3", 200)
	try("shop.localhost", "10.1.2.3", 404)
	try("shop.localhost", "127.0.0.1", 200)
	stranger := newFront(t, Config{})
	stranger.shop(echoHead(t))
	if dial(t, stranger.addr).send(get("/", shopHost, "X-Forwarded-For: 6.6.6.6")).answer("GET"); stranger.seen.next(t).Client.Addr().String() != "127.0.0.1" {
		t.Error("a stranger is believed")
	}
}

// v2 writes a header of version 2 with a checksum.
func v2(command, family byte, addrs []byte, extensions ...byte) string {
	extensions = append(extensions, proxyCRC, 0, 4, 0, 0, 0, 0)
	b := append(append([]byte{}, proxyV2...), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(addrs)+len(extensions)))
	b = append(append(b, addrs...), extensions...)
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(b[len(b)-4:], sum)
	return string(b)
}

func TestProxyProtocol(t *testing.T) {
	f := behind(t, Config{ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	four := []byte{198, 51, 100, 7, 192, 0, 2, 1, 0x12, 0x34, 0, 80}
	six := append(append(append([]byte{}, netip.MustParseAddr("2001:db8::1").AsSlice()...), netip.MustParseAddr("2001:db8::2").AsSlice()...), 0, 1, 0, 80)
	try := func(name, header, client, told string) {
		t.Helper()
		p := dial(t, f.addr).send(header + get("/", "www.example.com"))
		_, got := p.answer("GET")
		if x := f.seen.next(t); x.Client.String() != client || got != told {
			t.Errorf("%s: the client is %s and the app was told %q, want %s and %q", name, x.Client, got, client, told)
		}
		// A connection has one header.
		if res, _ := p.send(get("/", "www.example.com")).answer("GET"); res.StatusCode != 200 {
			t.Errorf("%s: the second request got %d", name, res.StatusCode)
		}
		f.seen.next(t)
	}
	try("v1", "PROXY TCP4 198.51.100.7 192.0.2.1 4660 80\r\n", "198.51.100.7:4660", "198.51.100.7 http")
	try("v1, IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1 80\r\n", "[2001:db8::1]:1", "2001:db8::1 http")
	try("v2", v2(proxyCommand, proxyTCP4, four), "198.51.100.7:4660", "198.51.100.7 http")
	try("v2, IPv6, TLS", v2(proxyCommand, proxyTCP6, six, proxySSL, 0, 5, 1, 0, 0, 0, 0), "[2001:db8::1]:1", "2001:db8::1 https")
	for name, header := range map[string]string{
		"v1, unknown": "PROXY UNKNOWN\r\n", "v1, unknown with more": "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
		"v2, local": v2(proxyLocal, 0, nil), "v2, a socket": v2(proxyCommand, proxyUnix, make([]byte, 216)),
	} {
		p := dial(t, f.addr).send(header + get("/", "www.example.com"))
		if _, got := p.answer("GET"); got != "127.0.0.1 http" {
			t.Errorf("%s: got %q", name, got)
		}
		f.seen.next(t)
	}
	// The proxy is trusted, the client that it names is not.
	p := dial(t, f.addr).send("PROXY TCP4 198.51.100.7 192.0.2.1 4660 80\r\n" + get("/", "www.example.com", "X-Forwarded-For: 10.0.0.1"))
	if _, got := p.answer("GET"); got != "198.51.100.7 http" {
		t.Errorf("got %q", got)
	}
	wrong := []byte(v2(proxyCommand, proxyTCP4, four))
	wrong[len(wrong)-1] ^= 1
	for name, header := range map[string]string{
		"none": get("/", "www.example.com"), "v1, no port": "PROXY TCP4 198.51.100.7 192.0.2.1 80\r\n",
		"v1, wrong family": "PROXY TCP4 2001:db8::1 2001:db8::2 1 80\r\n", "v1, bare LF": "PROXY TCP4 198.51.100.7 192.0.2.1 1 80\n",
		"v1, too long": "PROXY UNKNOWN " + strings.Repeat("x", 200) + "\r\n", "v1, port": "PROXY TCP4 198.51.100.7 192.0.2.1 01 80\r\n",
		"v2, wrong sum": string(wrong), "v2, short": v2(proxyCommand, proxyTCP6, nil), "v2, version": v2(0x31, proxyTCP4, four),
		"v2, extension": v2(proxyCommand, proxyTCP4, four, 0xee, 0xff, 0xff),
	} {
		if !dial(t, f.addr).send(header + get("/", "www.example.com")).closed() {
			t.Errorf("%s: the connection is served", name)
		}
	}
}

// TestProxyProtocolCounts: a client behind a proxy has the limit of a client.
func TestProxyProtocolCounts(t *testing.T) {
	f := behind(t, Config{ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Limits: Connections{Client: 2}})
	open := func(client string) *peer {
		return dial(t, f.addr).send("PROXY TCP4 " + client + " 192.0.2.1 4660 80\r\n" + get("/", "www.example.com"))
	}
	for range 3 {
		open("198.51.100.7").answer("GET")
		eventually(t, func() bool { return waitingOf(f.Router) == f.Stats().Connections })
	}
	eventually(t, func() bool { return f.Stats().Connections == 2 })
	for range 3 {
		open("192.0.2.77").answer("GET") // a trusted proxy itself
	}
	if n := f.Stats().Connections; n != 5 {
		t.Errorf("%d connections", n)
	}
}

// waitingOf counts the connections that wait for a request.
func waitingOf(r *Router) (n int) {
	r.conns.mu.Lock()
	defer r.conns.mu.Unlock()
	for _, s := range r.conns.all.list {
		if s.speaker != nil && s.idleSince() != 0 {
			n++
		}
	}
	return n
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 198.51.100.7 192.0.2.1 4660 80\r\nGET"))
	f.Add([]byte(v2(proxyCommand, proxyTCP4, make([]byte, 12)) + "GET"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := parseProxyHeader(r)
		if err != nil && h.client.IsValid() {
			t.Fatal("a header that is not valid names a client")
		}
		if read := len(b) - r.Len(); err == nil && b[read-1] != '\n' && b[0] == 'P' {
			t.Fatalf("%d bytes were read of %q", read, b)
		}
	})
}
