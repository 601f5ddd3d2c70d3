package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// TestEvents: a piece of a stream is passed on when it comes, not when there is more.
func TestEvents(t *testing.T) {
	f := newFront(t, Config{})
	next := make(chan struct{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-next
		}
	}))
	p := dial(t, f.addr).send(get("/", shopHost))
	res, err := http.ReadResponse(p.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(res.Body)
	for i := range 3 {
		if l, err := lines.ReadString('\n'); err != nil || l != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d: %q, %v", i, l, err)
		}
		_, _ = lines.ReadString('\n')
		next <- struct{}{}
	}
	if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// TestPatience: limits hold for what they are said to, and not for what comes after.
func TestPatience(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{HeaderTimeout: cloud.Duration(1500 * time.Millisecond), IdleTimeout: cloud.Duration(1500 * time.Millisecond), KeepaliveTimeout: cloud.Duration(1500 * time.Millisecond), UpstreamKeepaliveTimeout: cloud.Duration(time.Minute)})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		time.Sleep(2 * time.Second)
		fmt.Fprint(w, len(b))
		w.(http.Flusher).Flush()
		time.Sleep(2 * time.Second)
		fmt.Fprint(w, " late")
	}))
	big := request("POST", "/", shopHost, "Content-Length: 400000") + strings.Repeat("x", 400000)
	small := request("POST", "/", shopHost, "Content-Length: 5") + "hello"
	var all sync.WaitGroup
	for _, pair := range [][2]string{{get("/", shopHost), small}, {small, get("/", shopHost)}, {big, small}} {
		p := dial(t, f.addr)
		all.Go(func() {
			for _, r := range pair {
				_, _ = io.WriteString(p, r)
				if got, err := body(p); err != nil || !strings.HasSuffix(got, " late") {
					t.Errorf("%s: %q, %v", r[:4], got, err)
				}
			}
		})
	}
	all.Wait()
}

// echo upgrades and sends back what it gets, until the client ends; then it says bye.
func echo(t testing.TB) string {
	return rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		q, _, err := readRequest(r)
		if err != nil || q.Header.Get("Upgrade") != "websocket" || q.Header.Get("Connection") != "Upgrade" {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhello,")
		_, _ = io.Copy(c, r)
		_, _ = io.WriteString(c, "bye")
	})
}

func upgraded(t testing.TB, f *front) *peer {
	t.Helper()
	p := dial(t, f.addr).send(get("/", shopHost, "Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"))
	res, err := http.ReadResponse(p.r, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" || res.Header.Get("Sec-WebSocket-Accept") != "x" {
		t.Fatalf("%v, %v", res, err)
	}
	p.expect("hello,")
	return p
}

func (p *peer) expect(want string) {
	p.t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(p.r, b); err != nil || string(b) != want {
		p.t.Fatalf("got %q, %v, want %q", b, err, want)
	}
}

func TestUpgrade(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(echo(t))
	p := upgraded(t, f)
	p.send("one").expect("one")
	big := strings.Repeat("x", 1<<20)
	go func() { _, _ = io.WriteString(p, big) }()
	p.expect(big)
	// Each direction ends by itself.
	_ = p.Conn.(*net.TCPConn).CloseWrite()
	p.expect("bye")
	if !p.closed() {
		t.Error("open after both ends")
	}
	if x := f.seen.next(t); !x.Upgraded || x.Status != 101 || x.In != 3+1<<20 || x.Out != 6+3+1<<20+3 {
		t.Errorf("recorded as %+v", x)
	}
	// Cleartext HTTP/2 is nothing to switch to.
	if res, _ := dial(t, f.addr).send(get("/", shopHost, "Connection: Upgrade", "Upgrade: h2c")).answer("GET"); res.StatusCode != 400 {
		t.Errorf("h2c: %d", res.StatusCode)
	}
}

func TestTunnelIdle(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{TunnelTimeout: cloud.Duration(700 * time.Millisecond)})
	f.shop(echo(t))
	p := upgraded(t, f)
	begun := time.Now()
	if !p.closed() || time.Since(begun) < 500*time.Millisecond {
		t.Errorf("closed after %v", time.Since(begun))
	}
}

// TestDrain returns when the last request has ended, upgraded connections too, and not before.
func TestDrain(t *testing.T) {
	f := newFront(t, Config{})
	release := make(chan struct{})
	slow := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
		_, _ = io.WriteString(w, "old")
	})
	f.world.app("shop", 1, 1)
	id := f.world.up("shop", 1, slow)
	f.swap()
	p := dial(t, f.addr).send(get("/slow", shopHost))
	eventually(t, func() bool { return f.Stats().InFlight[ref("shop").Release(1)] == 1 })

	other := f.world.up("shop", 1, backend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "new") }))
	f.world.phase(id, cloud.InstanceDraining)
	f.swap()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.Drain(short, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("with a request in flight: %v", err)
	}
	for range 20 {
		if _, got := dial(t, f.addr).send(get("/", shopHost)).answer("GET"); got != "new" {
			t.Fatalf("a draining instance answered: %q", got)
		}
	}
	ended := make(chan error)
	go func() { ended <- f.Drain(t.Context(), id) }()
	close(release)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if _, got := p.answer("GET"); got != "old" {
		t.Fatalf("the request in flight: %q", got)
	}
	if err := f.Drain(t.Context(), "unknown"); err != nil {
		t.Fatal(err)
	}
	// An instance may come back under its ID: its readiness failed for a while.
	f.world.phase(id, cloud.InstanceReady)
	f.world.down(other)
	f.swap()
	if _, got := dial(t, f.addr).send(get("/", shopHost)).answer("GET"); got != "old" {
		t.Fatalf("after its return: %q", got)
	}
	// A drain waits for the table without the instance: there may be nobody else to answer before.
	go func() { ended <- f.Drain(t.Context(), id) }()
	for range 5 {
		if _, got := dial(t, f.addr).send(get("/", shopHost)).answer("GET"); got != "old" {
			t.Fatalf("before the swap: %q", got)
		}
	}
	last := f.world.view
	f.world.down(id)
	f.swap()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	// Drained although it stays in the table, it takes nothing in the end.
	f.world.view = last
	f.swap()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := f.Drain(ctx, id); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if res, _ := dial(t, f.addr).send(get("/", shopHost)).answer("GET"); res.StatusCode != 503 {
		t.Fatalf("a drained instance answered: %d", res.StatusCode)
	}
}

func TestDrainTunnel(t *testing.T) {
	f := newFront(t, Config{})
	f.world.app("shop", 1, 1)
	id := f.world.up("shop", 1, echo(t))
	f.swap()
	p := upgraded(t, f)
	f.world.down(id)
	f.swap()
	short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := f.Drain(short, id); err == nil {
		t.Fatal("drained with an upgraded connection open")
	}
	_ = p.Close()
	if err := f.Drain(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// TestSwapsUnderLoad: instances come and go, each drained and then gone, and no request is lost.
func TestSwapsUnderLoad(t *testing.T) {
	f := newFront(t, Config{})
	f.world.app("shop", 1, 1)
	newInstance := func() (cloud.InstanceID, func()) {
		var inside atomic.Int64
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inside.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "ok")
			inside.Add(-1)
		})}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = s.Serve(ln) }()
		return f.world.up("shop", 1, ln.Addr().String()), func() {
			if n := inside.Load(); n != 0 {
				t.Errorf("%d requests in a drained instance", n)
			}
			_ = s.Close()
		}
	}
	id, stop := newInstance()
	f.swap()

	const clients, each = 16, 625
	var all sync.WaitGroup
	var failed atomic.Int64
	for range clients {
		p := dial(t, f.addr)
		_ = p.SetDeadline(time.Now().Add(5 * time.Minute))
		all.Go(func() {
			for i := range each {
				r := get("/", shopHost)
				if i%3 == 0 {
					r = request("POST", "/", shopHost, "Content-Length: 5") + "hello"
				}
				if _, err := io.WriteString(p, r); err != nil {
					failed.Add(1)
					return
				}
				res, err := http.ReadResponse(p.r, nil)
				if err != nil {
					failed.Add(1)
					return
				}
				if b, err := io.ReadAll(res.Body); err != nil || string(b) != "ok" || res.StatusCode != 200 {
					failed.Add(1)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	swaps := 0
	for running := true; running; swaps++ {
		nextID, nextStop := newInstance()
		f.swap()
		f.world.phase(id, cloud.InstanceDraining)
		f.swap()
		if err := f.Drain(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		stop()
		f.world.down(id)
		f.swap()
		id, stop = nextID, nextStop
		select {
		case <-done:
			running = false
		default:
		}
	}
	stop()
	if failed.Load() != 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), clients*each)
	}
	t.Logf("%d requests, %d instances", clients*each, swaps)
}

func TestShutdown(t *testing.T) {
	f := newFront(t, Config{})
	release := make(chan struct{})
	started := make(chan struct{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-release
		_, _ = io.WriteString(w, "whole")
	}))
	idle := dial(t, f.addr)
	busy := dial(t, f.addr).send(get("/", shopHost))
	<-started
	ended := make(chan error)
	go func() { ended <- f.Shutdown(t.Context()) }()
	if !idle.closed() {
		t.Error("an idle connection stays")
	}
	if c, err := net.Dial("tcp", f.addr); err == nil {
		t.Error("accepts still")
		c.Close()
	}
	close(release)
	res, got := busy.answer("GET")
	if got != "whole" || !res.Close {
		t.Errorf("the request under way: %q, close %v", got, res.Close)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestShutdownCuts(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(echo(t))
	p := upgraded(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, p.r) // the goodbye
	if !p.closed() {
		t.Error("open after the end")
	}
}

// TestPeers: an internal listener asks who the peer is, and a shared one at which address it came.
func TestPeers(t *testing.T) {
	f := newFront(t, Config{Local: func(a netip.Addr) bool { return false }})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {}))
	shared := f.listen(Listener{Inside: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if res, _ := dial(t, shared).send(get("/", shopHost)).answer("GET"); res.StatusCode != 200 {
		t.Errorf("at an internal address of a shared listener: %d", res.StatusCode)
	}
	elsewhere := f.listen(Listener{Inside: []netip.Addr{netip.MustParseAddr("127.0.0.2")}})
	if res, _ := dial(t, elsewhere).send(get("/", shopHost)).answer("GET"); res.StatusCode != 404 {
		t.Errorf("at a public address of a shared listener: %d", res.StatusCode)
	}
	// Not loopback: a connection from an address of the machine's that Local does not know.
	if o := f.origin(fakeConn{remote: "192.0.2.1:1", local: "192.0.2.2:80"}, &Listener{Internal: true}); !o.denied {
		t.Error("a stranger is let in")
	}
	o := f.origin(fakeConn{remote: "[::ffff:127.0.0.1]:1", local: "127.0.0.1:80"}, &Listener{Internal: true})
	if o.denied || !o.loopback || string(o.client) != "127.0.0.1" {
		t.Errorf("a mapped address: denied %v, loopback %v, %s", o.denied, o.loopback, o.client)
	}
}

type fakeConn struct {
	net.Conn
	remote, local string
}

func (c fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.remote))
}
func (c fakeConn) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.local))
}
func (c fakeConn) Close() error { return nil }

// TestMount leads a host to another part of the process, over a unix socket.
func TestMount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })}
	go func() { _ = s.Serve(ln) }()
	defer s.Close()
	f := newFront(t, Config{})
	f.compiler.Mounts = []Mount{{Host: "api.micro.test", Name: "api", Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	f.swap()
	p := dial(t, f.addr)
	for range 3 {
		if _, got := p.send(get("/", "api.micro.test")).answer("GET"); got != "api.micro.test" {
			t.Errorf("got %q", got)
		}
		f.world.app("shop", 0, 0)
		f.swap()
	}
	if res, _ := dial(t, f.public).send(get("/", "api.micro.test")).answer("GET"); res.StatusCode != 404 {
		t.Errorf("on the public listener: %d", res.StatusCode)
	}
}

// TestPin: an internal client may ask for a release, and answers may say which one gave them.
func TestPin(t *testing.T) {
	f := newFront(t, Config{})
	f.world.app("shop", 1, 2)
	for n := 1; n <= 2; n++ {
		f.world.up("shop", n, backend(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Micro-Instance", "forged")
			fmt.Fprintf(w, "r%d", n)
		}))
	}
	s := &cloud.VirtualHost{Host: "www.example.com", Group: cloud.DefaultGroup, Exposure: cloud.ExposedPublic}
	f.world.put(s.With(cloud.Route{Path: "/", Headers: true, Targets: parseTargets(t, []string{"shop"})}))
	f.swap()
	p, public := dial(t, f.addr), dial(t, f.public)
	for range 4 {
		if _, got := p.send(get("/", shopHost)).answer("GET"); got != "r1" {
			t.Errorf("unpinned: %s", got)
		}
		if _, got := p.send(get("/", shopHost, "X-Micro-Release: r2")).answer("GET"); got != "r2" {
			t.Errorf("pinned: %s", got)
		}
		res, got := public.send(get("/", "www.example.com", "X-Micro-Release: r2")).answer("GET")
		if got != "r1" || res.Header.Get("X-Micro-Release") != "r1" || len(res.Header["X-Micro-Instance"]) != 1 || res.Header.Get("X-Micro-Instance") != "shop-r1-1" {
			t.Errorf("public: %s %v", got, res.Header)
		}
	}
	if res, _ := p.send(get("/", shopHost, "X-Micro-Release: r9")).answer("GET"); res.StatusCode != 404 || res.Header.Get("X-Micro-Error") != "unknown_release" {
		t.Errorf("pinned to nothing: %d", res.StatusCode)
	}
}

// TestRecord says what an exchange is recorded as.
func TestRecord(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(201)
		_, _ = io.WriteString(w, "12345")
	}))
	dial(t, f.addr).send(request("POST", "/a?b", "Shop.micro.test", "Content-Length: 3") + "abc").answer("POST")
	x := f.seen.next(t)
	got := fmt.Sprintf("%s %s %s %v %s %s %s %d %d %d %d %q", x.Scheme, x.Method, x.Host, x.Internal, x.Target, x.Release, x.Instance, x.Status, x.In, x.Out, x.Attempts, x.Error)
	if want := `http POST Shop.micro.test true /a?b shop@r1 shop-r1-1 201 3 5 1 ""`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if x.First <= 0 || x.Duration < x.First || len(x.RequestID) != 32 || !x.Client.IsValid() || time.Since(x.Start) > time.Minute {
		t.Errorf("%+v", x)
	}
}
