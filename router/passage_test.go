package router

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// mapBytes maps a host whose connections are passed on to targets.
func (f *front) mapBytes(vhost cloud.VirtualHost, targets ...cloud.Target) {
	vhost.Group = cloud.DefaultGroup
	vhost.Routes[0].Path, vhost.Routes[0].Targets = "/", targets
	f.world.put(&vhost)
	f.swap()
}

// echoing answers each line with a name before it, after a greeting, until the client has ended its side.
func echoing(t testing.TB, name string) string {
	return rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		_, _ = fmt.Fprintf(c, "this is %s\n", name)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				_, _ = fmt.Fprintf(c, "bye\n")
				return
			}
			_, _ = fmt.Fprintf(c, "%s: %s", name, line)
		}
	})
}

// TestPort: connections to a routed port are passed on, by the weights of the route, with their ends, and counted.
func TestPort(t *testing.T) {
	f := newFront(t, Config{})
	f.world.app("db", 2, 2)
	f.world.up("db", 1, echoing(t, "one"))
	id := f.world.up("db", 2, echoing(t, "two"))
	ports := func() string { return fmt.Sprint(f.Table().Ports()) }
	f.mapBytes(cloud.VirtualHost{Host: "tcp:5433", Exposure: cloud.ExposedInternal, Routes: make([]cloud.Route, 1)},
		cloud.Target{ReleaseRef: ref("db").Release(1), Weighted: true, Weight: 3}, cloud.Target{ReleaseRef: ref("db").Release(2), Weighted: true, Weight: 1})
	if got := ports(); got != "map[5433:false]" {
		t.Errorf("ports %s", got)
	}
	addr := f.listen(Listener{Internal: true, Scheme: "tcp", Port: 5433})
	count := map[string]int{}
	for range 20 {
		p := dial(t, addr)
		greeting, _ := p.r.ReadString('\n') // the app speaks first
		count[greeting]++
		p.send("hello\n")
		if got, err := p.r.ReadString('\n'); !strings.HasSuffix(got, ": hello\n") || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		_ = p.Conn.(*net.TCPConn).CloseWrite()
		if rest, err := io.ReadAll(p.r); string(rest) != "bye\n" || err != nil {
			t.Fatalf("after the end of the client's side: %q, %v", rest, err)
		}
		x := f.seen.next(t)
		if x.Status != 200 || string(x.Method) != "TCP" || string(x.Host) != "tcp:5433" || x.RouteHost != "tcp:5433" || !x.timed() || x.In != 6 || x.Out == 0 {
			t.Errorf("recorded %+v", x)
		}
	}
	if count["this is one\n"] != 15 || count["this is two\n"] != 5 {
		t.Errorf("connections by release: %v", count)
	}
	// An instance that goes takes no new connection, and what it has goes on until its end.
	f.mapBytes(cloud.VirtualHost{Host: "tcp:5433", Exposure: cloud.ExposedPublic, Routes: make([]cloud.Route, 1)}, cloud.Target{ReleaseRef: ref("db").Release(2)})
	if got := ports(); got != "map[5433:true]" {
		t.Errorf("ports of a public one: %s", got)
	}
	p := dial(t, addr)
	_, _ = p.r.ReadString('\n')
	f.world.down(id)
	f.swap()
	drained := make(chan error, 1)
	go func() { drained <- f.Drain(t.Context(), id) }()
	p.send("still here\n")
	if got, _ := p.r.ReadString('\n'); got != "two: still here\n" {
		t.Errorf("while it is drained: %q", got)
	}
	select {
	case err := <-drained:
		t.Errorf("drained with a connection: %v", err)
	default:
	}
	if rest, err := io.ReadAll(dial(t, addr).r); len(rest) > 0 {
		t.Errorf("without an instance: %q, %v", rest, err)
	}
	if x := f.seen.next(t); x.Status != 503 || x.Error != "no_endpoints" {
		t.Errorf("recorded %+v", x)
	}
	_ = p.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	// Nobody comes to a port by HTTP, and nobody to a host that is none by a port.
	if res, _ := dial(t, f.addr).send("GET / HTTP/1.1\r\nHost: tcp:5433\r\n\r\n").answer("GET"); res.StatusCode != 404 {
		t.Errorf("by HTTP: %d", res.StatusCode)
	}
	gone, _ := f.world.view.State.VirtualHost("tcp:5433")
	f.world.delete(gone)
	f.swap()
	if got := ports(); got != "map[]" {
		t.Errorf("ports after the last: %s", got)
	}
}

// TestPortTriesOthers: an instance that can't be reached costs no connection where there is another one, and is told
// where there is none. A port listener for internal clients refuses others.
func TestPortTriesOthers(t *testing.T) {
	f := newFront(t, Config{})
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	_ = ln.Close()
	f.world.app("db", 1, 1)
	f.world.up("db", 1, ln.Addr().String())
	f.mapBytes(cloud.VirtualHost{Host: "tcp:5433", Exposure: cloud.ExposedInternal, Routes: make([]cloud.Route, 1)}, cloud.Target{ReleaseRef: ref("db").Release(0)})
	addr := f.listen(Listener{Internal: true, Scheme: "tcp", Port: 5433})
	_, _ = io.ReadAll(dial(t, addr).r)
	if x := f.seen.next(t); x.Status != 502 {
		t.Errorf("recorded %+v", x)
	}
	f.world.up("db", 1, echoing(t, "there"))
	f.swap()
	for range 10 {
		if got, err := dial(t, addr).r.ReadString('\n'); got != "this is there\n" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

// TestProxyHeaderToApp: an app learns whose a connection is, if it wants to, and reads so what this router reads too.
func TestProxyHeaderToApp(t *testing.T) {
	f := newFront(t, Config{})
	heard := make(chan proxyHeader, 1)
	f.world.app("db", 1, 1)
	f.world.up("db", 1, rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		h, err := parseProxyHeader(r)
		if err != nil {
			t.Error(err)
		}
		heard <- h
		line, _ := r.ReadString('\n')
		_, _ = io.WriteString(c, "got "+line)
	}))
	f.mapBytes(cloud.VirtualHost{Host: "tcp:5433", Exposure: cloud.ExposedInternal, Routes: []cloud.Route{{ProxyProtocol: true}}}, cloud.Target{ReleaseRef: ref("db").Release(0)})
	p := dial(t, f.listen(Listener{Internal: true, Scheme: "tcp", Port: 5433})).send("hello\n")
	if got, err := io.ReadAll(p.r); string(got) != "got hello\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if h := <-heard; h.client.String() != p.Conn.LocalAddr().String() {
		t.Errorf("the app heard of %v, not %v", h.client, p.Conn.LocalAddr())
	}
}

// TestPassthrough: a host's TLS reaches the app unread; other hosts of the listener are answered as before, and nobody
// gets to the app by TLS that ends here.
func TestPassthrough(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "the shop") }))
	its := secured(t, "own")
	f.world.app("db", 1, 1)
	f.world.up("db", 1, rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		to, protocol, err := its(context.Background(), &begunConn{c, buffered(r)}, false)
		if err == nil {
			_, _ = io.WriteString(to, "the app itself speaks "+protocol)
			_ = to.Close()
		}
	}))
	f.mapBytes(cloud.VirtualHost{Host: "db.example.com", Exposure: cloud.ExposedInternal, Passthrough: true, Routes: make([]cloud.Route, 1)}, cloud.Target{ReleaseRef: ref("db").Release(0)})
	addr := f.listen(Listener{Internal: true, Scheme: "https", Handshake: secured(t, Protocols()...)})
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "db.example.com", NextProtos: []string{"own"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "the app itself speaks own" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_ = c.Close()
	if x := f.seen.next(t); x.Release.App != "db" || x.Status != 200 {
		t.Errorf("recorded %+v", x)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: shopHost}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for host, want := range map[string]int{shopHost: 200, "db.example.com": 421} {
		r, _ := http.NewRequest("GET", "https://"+shopHost+"/", nil)
		r.Host = host
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s on a connection for %s: %d, want %d", host, shopHost, res.StatusCode, want)
		}
	}
	if res, _ := dial(t, f.addr).send(get("/a", "db.example.com")).answer("GET"); res.StatusCode != 308 || res.Header.Get("Location") != "https://db.example.com/a" {
		t.Errorf("without TLS: %d %v", res.StatusCode, res.Header)
	}
	// What is no TLS at all is refused as ever.
	if rest, _ := io.ReadAll(dial(t, addr).send("GET / HTTP/1.1\r\n\r\n").r); strings.Contains(string(rest), "shop") {
		t.Errorf("without TLS at a listener for it: %q", rest)
	}
}

func buffered(r *bufio.Reader) []byte {
	b, _ := r.Peek(r.Buffered())
	return b
}
