package router

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// knowing is the handshake of a listener whose clients speak HTTP/2 with prior knowledge.
func knowing(_ context.Context, c net.Conn, _ bool) (net.Conn, string, error) {
	return c, protocolHTTP2, nil
}

// http2Client is a client of the standard library that speaks HTTP/2 alone, to an address whatever the URL says.
func http2Client(t testing.TB, addr string) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// multi is a router with a listener for HTTP/2.
func multi(t testing.TB, set ...cloud.Limits) (*front, *http.Client) {
	f := newFront(t, Config{}, set...)
	return f, http2Client(t, f.listen(Listener{Internal: true, Handshake: knowing}))
}

// TestHTTP2: requests of HTTP/2 meet what requests of HTTP/1 meet.
func TestHTTP2(t *testing.T) {
	f, client := multi(t, cloud.Limits{MaxBody: 3 << 20})
	f.meetsAll(client, "http", 2)
}

// meetsAll checks what requests of a client meet, whose protocol is not HTTP/1.
func (f *front) meetsAll(client *http.Client, scheme string, major int) {
	t := f.t
	base := scheme + "://shop.micro.test"
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			b, _ := io.ReadAll(r.Body)
			_, _ = w.Write(b)
		case "/trailers":
			b, _ := io.ReadAll(r.Body)
			w.Header().Set("Trailer", "X-Sum")
			_, _ = fmt.Fprintf(w, "%d", len(b))
			w.Header().Set("X-Sum", r.Trailer.Get("X-Client-Sum")+"!")
		case "/hints":
			w.Header().Set("Link", "</a.css>")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "after")
		case "/broken":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "some")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			w.Header().Set("X-Seen", r.Proto+" "+r.Host+" "+r.Header.Get("X-Forwarded-For")+" "+r.Header.Get("Cookie"))
		}
	}))
	do := func(method, url string, body io.Reader, fields ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequest(method, url, body)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range fields {
			k, v, _ := strings.Cut(one, ": ")
			r.Header.Add(k, v)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatalf("%s %s: %v", method, url, err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("%s %s: %v", method, url, err)
		}
		return res, string(b)
	}
	if res, _ := do("GET", base+"/", nil, "Cookie: a=1", "Cookie: b=2"); res.ProtoMajor != major || res.Header.Get("X-Seen") != "HTTP/1.1 shop.micro.test 127.0.0.1 a=1; b=2" {
		t.Errorf("%s %v", res.Proto, res.Header)
	}
	if x := f.seen.next(t); x.Release.App != "shop" || x.Scheme != scheme || x.Status != 200 || string(x.Method) != "GET" {
		t.Errorf("recorded %+v", x)
	}
	for _, n := range []int{0, 1, 5000, 100_000, 2 << 20} {
		body := strings.Repeat("x", n)
		if _, got := do("POST", base+"/echo", strings.NewReader(body)); got != body {
			t.Errorf("%d bytes: %d came back", n, len(got))
		}
		if _, got := do("POST", base+"/echo", io.MultiReader(strings.NewReader(body))); got != body {
			t.Errorf("%d bytes of unknown length: %d came back", n, len(got))
		}
	}
	if res, _ := do("POST", base+"/echo", strings.NewReader(strings.Repeat("x", 4<<20))); res.StatusCode != 413 {
		t.Errorf("a body that is too large: %d", res.StatusCode)
	}
	for _, body := range []io.Reader{strings.NewReader("abc"), io.MultiReader(strings.NewReader("abc"))} {
		r, _ := http.NewRequest("POST", base+"/trailers", body)
		r.Trailer = http.Header{"X-Client-Sum": {"seven"}, "X-Other": {"eight"}}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(got) != "3" || res.Trailer.Get("X-Sum") != "seven!" {
			t.Errorf("trailers: %s, %v", got, res.Trailer)
		}
	}
	if _, got := do("GET", base+"/hints", nil); got != "after" {
		t.Errorf("after a 103: %q", got)
	}
	if res, _ := do("HEAD", base+"/", nil); res.StatusCode != 200 {
		t.Errorf("HEAD: %d", res.StatusCode)
	}
	if res, got := do("GET", scheme+"://nobody.micro.test/", nil); res.StatusCode != 404 || res.Header.Get("X-Micro-Error") != "unknown_route" || !strings.Contains(got, "unknown_route") {
		t.Errorf("nobody: %d %v", res.StatusCode, res.Header)
	}
	if res, _ := do("GET", base+"/", nil, "X-Micro-Release: r9"); res.StatusCode != 404 {
		t.Errorf("an unknown release: %d", res.StatusCode)
	}
	res, err := client.Get(base + "/broken")
	if err == nil {
		_, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
	}
	if err == nil {
		t.Error("a broken answer looks whole")
	}
	eventually(t, func() bool { return f.Stats().InFlight[ref("shop").Release(1)] == 0 })
}

// TestHTTP2Streams: streams of a connection don't wait for each other, pieces pass as they come, both ways, and one that
// is cancelled ends its request to the app.
func TestHTTP2Streams(t *testing.T) {
	f, client := multi(t)
	f.talks(client, "http")
}

func (f *front) talks(client *http.Client, scheme string) {
	t := f.t
	base := scheme + "://shop.micro.test"
	cancelled := make(chan struct{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/talk":
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.(http.Flusher).Flush()
			in := bufio.NewScanner(r.Body)
			for in.Scan() {
				_, _ = fmt.Fprintln(w, "re: "+in.Text())
				w.(http.Flusher).Flush()
			}
		case "/hang":
			<-r.Context().Done()
			close(cancelled)
		}
	}))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		r, _ := http.NewRequestWithContext(ctx, "GET", base+"/hang", nil)
		_, err := client.Do(r)
		ended <- err
	}()
	eventually(t, func() bool { return f.Stats().InFlight[ref("shop").Release(1)] == 1 })
	pr, pw := io.Pipe()
	r, _ := http.NewRequest("POST", base+"/talk", pr)
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewScanner(res.Body)
	for _, line := range []string{"one", "two", "three"} {
		if _, err := io.WriteString(pw, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if !out.Scan() || out.Text() != "re: "+line {
			t.Fatalf("got %q, %v", out.Text(), out.Err())
		}
	}
	_ = pw.Close()
	if out.Scan() {
		t.Errorf("more: %q", out.Text())
	}
	_ = res.Body.Close()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	select {
	case <-cancelled:
	case <-time.After(time.Minute):
		t.Fatal("the app was not told")
	}
	eventually(t, func() bool { return f.Stats().InFlight[ref("shop").Release(1)] == 0 })
}

// TestHTTP2Shutdown: a shutdown says GOAWAY, finishes the streams under way, and loses none.
func TestHTTP2Shutdown(t *testing.T) {
	f, client := multi(t)
	f.endsGracefully(client, "http")
}

func (f *front) endsGracefully(client *http.Client, scheme string) {
	t := f.t
	release := make(chan struct{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		_, _ = io.WriteString(w, "whole")
	}))
	const n = 20
	answers := make(chan string, n)
	for range n {
		go func() {
			res, err := client.Get(scheme + "://shop.micro.test/")
			if err != nil {
				answers <- err.Error()
				return
			}
			b, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			answers <- fmt.Sprint(string(b), err)
		}()
	}
	eventually(t, func() bool { return f.Stats().InFlight[ref("shop").Release(1)] == n })
	ended := make(chan error, 1)
	go func() { ended <- f.Shutdown(t.Context()) }()
	eventually(t, f.noWaiting.Load)
	close(release)
	for range n {
		if got := <-answers; got != "whole<nil>" {
			t.Errorf("got %s", got)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestHTTP2Misdirected: on a connection for one host another one that is not there is answered 421.
func TestHTTP2Misdirected(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {}))
	addr := f.listen(Listener{Internal: true, Scheme: "https", Handshake: secured(t, "h2", "http/1.1")})
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: shopHost},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}}
	defer client.CloseIdleConnections()
	for host, want := range map[string]int{shopHost: 200, "nobody.micro.test": 421} {
		r, _ := http.NewRequest("GET", "https://"+shopHost+"/", nil)
		r.Host = host
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want || res.ProtoMajor != 2 {
			t.Errorf("%s: %s %d, want %d", host, res.Proto, res.StatusCode, want)
		}
	}
}

// TestHTTP2App: an app that speaks HTTP/2 gets it, from clients of both protocols.
func TestHTTP2App(t *testing.T) {
	f, client := multi(t)
	var cancelled atomic.Int64
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	var conns sync.Map
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conns.Store(r.RemoteAddr, true)
		switch r.URL.Path {
		case "/echo":
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.Header().Set("Content-Type", "application/grpc")
			w.(http.Flusher).Flush()
			_, _ = io.Copy(w, r.Body)
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
			w.Header().Set(http.TrailerPrefix+"X-Sum", r.Trailer.Get("X-Sum"))
		case "/hang":
			<-r.Context().Done()
			cancelled.Add(1)
		default:
			w.Header().Set("X-Seen", r.Proto+" "+r.Host+r.URL.RequestURI()+" "+r.Header.Get("Te"))
		}
	}))
	app.Config.Protocols = protocols
	app.Start()
	t.Cleanup(app.Close)
	f.world.app("shop", 1, 1)
	rel, _ := f.world.view.State.Release(ref("shop").Release(1))
	next := *rel
	next.Spec.Processes = map[cloud.ProcessName]cloud.Process{cloud.Web: {Protocol: cloud.ProtocolHTTP2}}
	f.world.put(&next)
	id := f.world.up("shop", 1, app.Listener.Addr().String())
	f.swap()
	res, err := client.Get("http://shop.micro.test/a%2fb?c")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := res.Header.Get("X-Seen"); got != "HTTP/2.0 shop.micro.test/a%2fb?c" {
		t.Errorf("the app saw %q", got)
	}
	if res, _ := dial(t, f.addr).send(get("/x", shopHost)).answer("GET"); !strings.HasPrefix(res.Header.Get("X-Seen"), "HTTP/2.0 ") {
		t.Errorf("from a client of HTTP/1.1: %v", res.Header)
	}
	body := bytes.Repeat([]byte("x"), 1<<20)
	for range 30 {
		res, err = client.Post("http://shop.micro.test/echo", "application/grpc", io.MultiReader(bytes.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || len(got) != len(body) || res.Trailer.Get("Grpc-Status") != "0" {
			t.Fatalf("%d bytes, %v, trailers %v", len(got), err, res.Trailer)
		}
	}
	r, _ := http.NewRequest("POST", "http://shop.micro.test/echo", io.MultiReader(strings.NewReader("abc")))
	r.Trailer = http.Header{"X-Sum": {"seven"}}
	if res, err = client.Do(r); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if res.Trailer.Get("X-Sum") != "seven" {
		t.Errorf("the app saw the trailers %v", res.Trailer)
	}
	n := 0
	conns.Range(func(_, _ any) bool { n++; return true })
	if n > 3 {
		t.Errorf("%d connections to the app", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, _ = http.NewRequestWithContext(ctx, "GET", "http://shop.micro.test/hang", nil)
	time.AfterFunc(2*time.Second, cancel)
	if _, err := client.Do(r); err == nil {
		t.Error("not cancelled")
	}
	eventually(t, func() bool { return cancelled.Load() == 1 })
	// Its instance goes: nothing is left open.
	f.world.down(id)
	f.swap()
	if err := f.Drain(t.Context(), id); err != nil {
		t.Error(err)
	}
	// One that is not there is left out, and what was meant for it is not lost.
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	_ = ln.Close()
	f.world.up("shop", 1, ln.Addr().String())
	f.world.up("shop", 1, app.Listener.Addr().String())
	f.swap()
	for range 20 {
		res, err := client.Post("http://shop.micro.test/", "text/plain", strings.NewReader("hi"))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%d beside an instance that is not there", res.StatusCode)
		}
	}
}

// TestHTTP2KeepsConnections: streams that come at the same time share a few connections to the app, which stay.
func TestHTTP2KeepsConnections(t *testing.T) {
	f, client := multi(t)
	var conns sync.Map
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		conns.Store(r.RemoteAddr, true)
		_, _ = io.Copy(w, r.Body)
	}))
	const atATime = 10
	var running sync.WaitGroup
	for range atATime {
		running.Go(func() {
			for range 100 {
				res, err := client.Get("http://shop.micro.test/")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
	running.Wait()
	n := 0
	conns.Range(func(_, _ any) bool { n++; return true })
	if n > 2*atATime {
		t.Errorf("%d connections to the app for 1000 requests", n)
	}
}
