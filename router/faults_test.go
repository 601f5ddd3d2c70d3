package router

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// deadAddr is an address that refuses connections.
func deadAddr(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// TestRefusedConnection: nothing was sent, so any request goes elsewhere while one instance lives.
func TestRefusedConnection(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(deadAddr(t), deadAddr(t), backend(t, func(w http.ResponseWriter, r *http.Request) {}), deadAddr(t))
	p := dial(t, f.addr)
	for i := range 100 {
		r := get("/", shopHost)
		if i%2 == 1 {
			r = request("POST", "/", shopHost, "Content-Length: 3") + "abc"
		}
		if res, _ := p.send(r).answer("GET"); res.StatusCode != 200 {
			t.Fatalf("request %d: %d", i, res.StatusCode)
		}
	}
	all := newFront(t, Config{})
	all.shop(deadAddr(t), deadAddr(t))
	for range 3 {
		if res, _ := dial(t, all.addr).send(get("/", shopHost)).answer("GET"); res.StatusCode != 502 || res.Header.Get("X-Micro-Error") != "endpoint_failure" {
			t.Fatalf("all dead: %d", res.StatusCode)
		}
		if x := all.seen.next(t); x.Attempts != 2 || x.Error != "endpoint_failure" {
			t.Fatalf("all dead: %+v", x)
		}
	}
}

func TestNoEndpoints(t *testing.T) {
	f := newFront(t, Config{})
	f.shop()
	res, body := dial(t, f.addr).send(get("/", shopHost)).answer("GET")
	if res.StatusCode != 503 || res.Header.Get("X-Micro-Error") != "no_endpoints" || res.Header.Get("Retry-After") == "" || !strings.Contains(body, `"code":"no_endpoints"`) {
		t.Fatalf("got %d %v %s", res.StatusCode, res.Header, body)
	}
}

// TestBrokenAfterRequest: who took the request and closes without a byte may have acted on it.
func TestBrokenAfterRequest(t *testing.T) {
	for name, end := range map[string]func(*net.TCPConn){"close": func(*net.TCPConn) {}, "reset": reset} {
		t.Run(name, func(t *testing.T) {
			var taken atomic.Int64
			f := newFront(t, Config{})
			f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
				if q, _, err := readRequest(r); err == nil {
					taken.Add(1)
					_ = q
				}
				end(c)
			}))
			for _, method := range []string{"POST", "PATCH"} {
				taken.Store(0)
				res, _ := dial(t, f.addr).send(request(method, "/", shopHost, "Content-Length: 3") + "abc").answer(method)
				if res.StatusCode != 502 || taken.Load() != 1 {
					t.Errorf("%s: %d, taken %d times", method, res.StatusCode, taken.Load())
				}
			}
			for _, r := range []string{get("/", shopHost), request("PUT", "/", shopHost, "Content-Length: 3") + "abc"} {
				taken.Store(0)
				res, _ := dial(t, f.addr).send(r).answer("GET")
				if res.StatusCode != 502 || taken.Load() != 1 {
					// The one endpoint was tried, there is no other.
					t.Errorf("%s: %d, taken %d times", r[:3], res.StatusCode, taken.Load())
				}
			}
			f.world.up("shop", 1, backend(t, func(w http.ResponseWriter, r *http.Request) {}))
			f.swap()
			for range 20 {
				if res, _ := dial(t, f.addr).send(get("/", shopHost)).answer("GET"); res.StatusCode != 200 {
					t.Fatalf("GET with a second instance: %d", res.StatusCode)
				}
			}
		})
	}
}

// TestStaleConnection: an app that closes its idle connections costs no request, and no POST is doubled.
func TestStaleConnection(t *testing.T) {
	var taken atomic.Int64
	f := newFront(t, Config{})
	closed := make(chan struct{})
	f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		if _, _, err := readRequest(r); err != nil {
			return
		}
		taken.Add(1)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_ = c.Close()
		closed <- struct{}{}
	}))
	p := dial(t, f.addr)
	for i := range 50 {
		r := get("/", shopHost)
		if i%2 == 1 {
			r = request("POST", "/", shopHost, "Content-Length: 3") + "abc"
		}
		if res, _ := p.send(r).answer("GET"); res.StatusCode != 200 {
			t.Fatalf("request %d: %d", i, res.StatusCode)
		}
		<-closed
	}
	if taken.Load() != 50 {
		t.Errorf("taken %d times", taken.Load())
	}
}

// TestClosedOnSecondRequest: the connection dies under the request, which is the one case that a POST can't be saved from.
func TestClosedOnSecondRequest(t *testing.T) {
	var posts atomic.Int64
	f := newFront(t, Config{})
	f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		for i := range 2 {
			q, _, err := readRequest(r)
			if err != nil {
				return
			}
			if q.Method == "POST" {
				posts.Add(1)
			}
			if i == 0 {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}
	}))
	p := dial(t, f.addr)
	for range 10 {
		if res, _ := p.send(get("/", shopHost)).answer("GET"); res.StatusCode != 200 {
			t.Fatalf("GET: %d", res.StatusCode)
		}
	}
	posts.Store(0)
	res, _ := p.send(request("POST", "/", shopHost, "Content-Length: 3") + "abc").answer("POST")
	if posts.Load() != 1 {
		t.Errorf("POST: %d, taken %d times", res.StatusCode, posts.Load())
	}
}

// TestHasty: an app that closes connections just after an answer, and does not say so, gets what can't be
// sent twice on connections of its own.
func TestHasty(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		if _, _, err := readRequest(r); err == nil {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_, _, _ = readRequest(r) // takes the next one, and is gone
		}
	}))
	p := dial(t, f.addr)
	for i := range 20 {
		if res, body := p.send(get("/", shopHost)).answer("GET"); res.StatusCode != 200 || body != "ok" {
			t.Fatalf("GET %d: %d %q", i, res.StatusCode, body)
		}
		if i == 0 {
			continue // nobody knows yet
		}
		if res, body := p.send(request("POST", "/", shopHost, "Content-Length: 3") + "abc").answer("POST"); res.StatusCode != 200 || body != "ok" {
			t.Fatalf("POST %d: %d %q", i, res.StatusCode, body)
		}
	}
}

func TestSlowBackend(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{AnswerTimeout: cloud.Duration(300 * time.Millisecond), StreamTimeout: cloud.Duration(300 * time.Millisecond)})
	release := make(chan struct{})
	defer close(release)
	f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		if q, _, err := readRequest(r); err == nil && q.URL.Path == "/half" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		}
		<-release
	}))
	res, _ := dial(t, f.addr).send(get("/", shopHost)).answer("GET")
	if res.StatusCode != 504 || res.Header.Get("X-Micro-Error") != "endpoint_timeout" {
		t.Errorf("got %d", res.StatusCode)
	}
	if x := f.seen.next(t); x.Attempts != 1 {
		t.Errorf("a slow request was sent %d times", x.Attempts)
	}
	if _, err := body(dial(t, f.addr).send(get("/half", shopHost))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half an answer: %v", err)
	}
}

// body reads an answer's body as far as it comes.
func body(p *peer) (string, error) {
	res, err := http.ReadResponse(p.r, nil)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

// TestTruncated: a client can tell a broken answer from a whole one, whatever its framing.
func TestTruncated(t *testing.T) {
	type script struct {
		answer string
		hard   bool
	}
	var now atomic.Pointer[script]
	f := newFront(t, Config{})
	f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		if _, _, err := readRequest(r); err == nil {
			s := now.Load()
			_, _ = io.WriteString(c, s.answer)
			if s.hard {
				// Let the front read what was sent first: a reset may overtake it.
				time.Sleep(20 * time.Millisecond)
				reset(c)
			}
		}
	}))
	for _, h := range []bool{false, true} {
		for _, a := range []string{
			"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
			"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nx\r\n",
		} {
			now.Store(&script{a, h})
			if got, err := body(dial(t, f.addr).send(get("/", shopHost))); err == nil || got != "half" {
				t.Errorf("%q, reset %v: %q, %v", a, h, got, err)
			}
			if x := f.seen.next(t); x.Error != "endpoint_broke_off" || x.Status != 200 {
				t.Errorf("%q: recorded as %+v", a, x)
			}
			if a[17:24] == "Transfe" {
				if got, err := body(dial(t, f.addr).send("GET / HTTP/1.0\r\nHost: " + shopHost + "\r\n\r\n")); err == nil {
					t.Errorf("HTTP/1.0, %q: %q looks whole", a, got)
				}
				f.seen.next(t)
			}
		}
	}
	now.Store(&script{"HTTP/1.1 200 OK\r\n\r\nhalf", true})
	if got, err := body(dial(t, f.addr).send(get("/", shopHost))); err == nil {
		t.Errorf("until close, reset: %q looks whole", got)
	}
	now.Store(&script{"HTTP/1.1 200 OK\r\n\r\nhalf", false})
	if got, err := body(dial(t, f.addr).send(get("/", shopHost))); err != nil || got != "half" {
		t.Errorf("until close: %q, %v", got, err)
	}
}

// TestHalfClosedBackend: who ends its sending side has said all.
func TestHalfClosedBackend(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		if _, _, err := readRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nall")
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, r)
		}
	}))
	if got, err := body(dial(t, f.addr).send(get("/", shopHost))); err != nil || got != "all" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestHalfClosedClient: `nc -N` ends its sending side with the request and waits.
func TestHalfClosedClient(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(50 * time.Millisecond)
		_, _ = io.WriteString(w, "answer")
	}))
	p := dial(t, f.addr).send(get("/", shopHost))
	_ = p.Conn.(*net.TCPConn).CloseWrite()
	if _, got := p.answer("GET"); got != "answer" || !p.closed() {
		t.Errorf("got %q", got)
	}
}

// TestEarlyAnswer: the app refuses a large body before it has read it.
func TestEarlyAnswer(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		}
	}))
	for _, framing := range []string{"Content-Length: 100000000", "Transfer-Encoding: chunked"} {
		p := dial(t, f.addr).send(request("POST", "/", shopHost, framing))
		go func() {
			b := []byte("3e8\r\n" + strings.Repeat("x", 1000) + "\r\n")
			for range 10_000 {
				if _, err := p.Write(b); err != nil {
					return
				}
			}
		}()
		if res, got := p.answer("POST"); res.StatusCode != 413 || got != "no" {
			t.Errorf("%s: %d %q", framing, res.StatusCode, got)
		}
		p.Close()
	}
}

func TestExpectContinue(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(403)
			return
		}
		b, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, len(b))
	}))
	p := dial(t, f.addr)
	for range 3 {
		p.send(request("POST", "/", shopHost, "Content-Length: 5", "Expect: 100-continue"))
		if l, _ := p.r.ReadString('\n'); l != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("got %q", l)
		}
		_, _ = p.r.ReadString('\n')
		if _, got := p.send("hello").answer("POST"); got != "5" {
			t.Fatalf("got %q", got)
		}
	}
	p.send(request("POST", "/refuse", shopHost, "Content-Length: 5", "Expect: 100-continue"))
	if res, _ := p.answer("POST"); res.StatusCode != 403 {
		t.Fatalf("got %d", res.StatusCode)
	}
	if !p.closed() {
		t.Error("open, although the body was never sent")
	}
}

func TestBodyLimit(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{MaxBody: 100_000})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	p := dial(t, f.addr)
	if res, _ := p.send(request("POST", "/", shopHost, "Content-Length: 100000") + strings.Repeat("x", 100_000)).answer("POST"); res.StatusCode != 200 {
		t.Errorf("at the limit: %d", res.StatusCode)
	}
	if res, _ := p.send(request("POST", "/", shopHost, "Content-Length: 100001")).answer("POST"); res.StatusCode != 413 {
		t.Errorf("over it: %d", res.StatusCode)
	}
	p = dial(t, f.addr).send(request("POST", "/", shopHost, "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s", 100_001, strings.Repeat("x", 100_001)))
	if res, _ := p.answer("POST"); res.StatusCode != 413 || res.Header.Get("X-Micro-Error") != "body_too_large" {
		t.Errorf("over it, chunked: %d", res.StatusCode)
	}
}

// TestSlowBody: a body that stops coming ends the request, and the app is told by the break.
func TestSlowBody(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{IdleTimeout: cloud.Duration(300 * time.Millisecond), KeepaliveTimeout: cloud.Duration(300 * time.Millisecond)})
	broken := make(chan error, 1)
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		broken <- err
	}))
	res, _ := dial(t, f.addr).send(request("POST", "/", shopHost, "Content-Length: 100") + "x").answer("POST")
	if res.StatusCode != 408 {
		t.Errorf("small: %d", res.StatusCode)
	}
	res, _ = dial(t, f.addr).send(request("POST", "/", shopHost, "Content-Length: 100000") + "x").answer("POST")
	if res.StatusCode != 408 {
		t.Errorf("large: %d", res.StatusCode)
	}
	if err := <-broken; err == nil {
		t.Error("the app took half a body for a whole one")
	}
}

// TestClientGone: a client that resets its connection ends the app's work for it.
func TestClientGone(t *testing.T) {
	f := newFront(t, Config{})
	started, ended := make(chan struct{}), make(chan struct{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
		close(ended)
	}))
	p := dial(t, f.addr).send(get("/", shopHost))
	<-started
	reset(p.Conn.(*net.TCPConn))
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the app works on for nobody")
	}
	if x := f.seen.next(t); x.Error != "client_gone" || x.Status != 499 {
		t.Errorf("recorded as %+v", x)
	}
}

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never came true")
		}
	}
}
