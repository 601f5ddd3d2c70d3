package router

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// TestAnswerLimitStartsAtTheEnd: the limit for the answer runs from the end of the request, and each interim
// answer extends it, however many there are.
func TestAnswerLimitStartsAtTheEnd(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{AnswerTimeout: cloud.Duration(3 * time.Second)})
	f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if q.Header.Get("Expect") != "" {
				_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			}
			n, _ := io.Copy(io.Discard, q.Body)
			if q.URL.Path == "/interim" {
				for i := range 40 {
					time.Sleep(100 * time.Millisecond)
					_, _ = fmt.Fprintf(c, "HTTP/1.1 %d Processing\r\nX-Step: %d\r\n\r\n", []int{102, 103, 100, 199}[i%4], i)
				}
			}
			time.Sleep(300 * time.Millisecond)
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%d", len(fmt.Sprint(n)), n)
		}
	}))
	var all sync.WaitGroup
	defer all.Wait()
	for _, framing := range []string{"Content-Length: 40000", "Transfer-Encoding: chunked"} {
		for _, path := range []string{"/expect", "/plain", "/interim"} {
			all.Go(func() { uploadSlowly(t, f, path, framing) })
		}
	}
	p := dial(t, f.addr).send(get("/interim", shopHost))
	for n := 0; ; n++ {
		res, err := http.ReadResponse(p.r, nil)
		if err != nil {
			t.Errorf("after %d interim answers: %v", n, err)
			break
		}
		if res.StatusCode >= 200 {
			if n != 40 || res.StatusCode != 200 {
				t.Errorf("%d after %d interim answers", res.StatusCode, n)
			}
			break
		}
	}
	// HTTP/1.0 knows no interim answers.
	if res, _ := dial(t, f.addr).send("GET /interim HTTP/1.0\r\nHost: " + shopHost + "\r\n\r\n").answer("GET"); res.StatusCode != 200 {
		t.Errorf("HTTP/1.0: %d", res.StatusCode)
	}
}

// uploadSlowly sends 40,000 bytes in 4 s, which is more than the limit for the answer.
func uploadSlowly(t *testing.T, f *front, path, framing string) {
	fields := []string{framing}
	if path == "/expect" {
		fields = append(fields, "Expect: 100-continue")
	}
	p := dial(t, f.addr).send(request("PUT", path, shopHost, fields...))
	if path == "/expect" {
		if l, _ := p.r.ReadString('\n'); l != "HTTP/1.1 100 Continue\r\n" {
			t.Errorf("got %q", l)
		}
		_, _ = p.r.ReadString('\n')
	}
	go func() {
		piece, end := strings.Repeat("x", 1000), ""
		if framing == "Transfer-Encoding: chunked" {
			piece, end = "3e8\r\n"+piece+"\r\n", "0\r\n\r\n"
		}
		for range 40 {
			time.Sleep(100 * time.Millisecond)
			if _, err := io.WriteString(p, piece); err != nil {
				return
			}
		}
		_, _ = io.WriteString(p, end)
	}()
	for {
		res, err := http.ReadResponse(p.r, nil)
		if err != nil {
			t.Errorf("%s %s: %v", path, framing, err)
			return
		}
		if res.StatusCode >= 200 {
			if b, _ := io.ReadAll(res.Body); string(b) != "40000" {
				t.Errorf("%s %s: %d %q", path, framing, res.StatusCode, b)
			}
			return
		}
	}
}

// TestHalfClosedIsNotGone: a client that has ended its sending side still wants its answer, however long that
// takes; one that has reset the connection does not.
func TestHalfClosedIsNotGone(t *testing.T) {
	f := newFront(t, Config{})
	for name, want := range map[string]bool{"half-closed": false, "reset": true} {
		client, server := tcpPair(t)
		other, _ := tcpPair(t)
		w, up := newWire(server, &f.bufs, &f.watch, nil), newWire(other, &f.bufs, &f.watch, nil)
		w.up.Store(up)
		w.waiting.Store(1)
		if want {
			reset(client)
		} else {
			_ = client.CloseWrite()
		}
		eventually(t, func() bool { _, half := w.left(); return half })
		w.checkGone(1, 2)
		if got := w.gone.Load(); got != want {
			t.Errorf("%s: gone %v", name, got)
		}
		w.close()
		up.close()
	}
}

func tcpPair(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// narrow makes a front whose sockets hold little, so that whoever is slow is noticed at once: its internal
// listener's, and those to the app.
func narrow(t testing.TB, cfg Config, set cloud.Limits, app string) *front {
	f := newFront(t, cfg, set)
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, narrowBuffer)
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, narrowBuffer)
		})
	}}
	ln, err := small.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = f.serve(ln, Listener{Internal: true})
	f.world.app("shop", 1, 1)
	f.world.up("shop", 1, app)
	table := f.compiler.Compile(nil, f.world.view)
	e, _ := table.endpoints.lookup("shop-r1-1")
	e.dial = func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{Control: small.Control}
		return d.DialContext(ctx, "tcp", app)
	}
	f.Swap(table)
	return f
}

const (
	moved = 6 << 20
	// A window smaller than loopback's segments of 64 KiB is opened by probes, in ever longer steps.
	narrowBuffer = 128 << 10
)

// movedBackend sends and takes a body in the way that the path says.
func movedBackend(t testing.TB) string {
	stop := make(chan struct{})
	addr := rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		_ = c.SetReadBuffer(narrowBuffer)
		q, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body := strings.Repeat("x", moved)
		switch q.URL.Path {
		case "/length":
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", moved, body)
		case "/chunks":
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", moved, body)
		case "/close":
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n\r\n%s", body)
		case "/trickle":
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", moved)
			for range 32 {
				_, _ = io.WriteString(c, body[:moved/32])
				time.Sleep(100 * time.Millisecond)
			}
		case "/upload":
			b, n := make([]byte, 32<<10), 0
			for {
				k, err := q.Body.Read(b)
				if n += k; err != nil {
					break
				}
				time.Sleep(25 * time.Millisecond)
			}
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Got: %d\r\n\r\n", n)
		case "/stalled":
			<-stop
		}
	})
	t.Cleanup(func() { close(stop) }) // before the backend waits for its connections
	return addr
}

// TestSlowIsNotStalled: whoever takes or sends a little all the time is not cut off, whichever way the bytes
// are moved.
func TestSlowIsNotStalled(t *testing.T) {
	const limit = 2 * time.Second // and all take longer
	f := narrow(t, Config{}, cloud.Limits{IdleTimeout: cloud.Duration(limit), KeepaliveTimeout: cloud.Duration(limit), StreamTimeout: cloud.Duration(limit)}, movedBackend(t))
	var all sync.WaitGroup
	for _, path := range []string{"/length", "/chunks", "/close", "/trickle"} {
		all.Go(func() { downloadSlowly(t, f, path) })
	}
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", moved, strings.Repeat("x", moved))
	for framing, body := range map[string]string{fmt.Sprintf("Content-Length: %d", moved): strings.Repeat("x", moved), "Transfer-Encoding: chunked": chunked} {
		// The app reads slowly, and then the client sends slowly too.
		for _, pause := range []time.Duration{0, 50 * time.Millisecond} {
			all.Go(func() {
				p := dial(t, f.addr).send(request("POST", "/upload", shopHost, framing))
				go func() {
					for piece := range slices.Chunk([]byte(body), moved/32) {
						if _, err := p.Write(piece); err != nil {
							return
						}
						time.Sleep(pause)
					}
				}()
				res, err := http.ReadResponse(p.r, nil)
				if err != nil || res.Header.Get("X-Got") != fmt.Sprint(moved) {
					t.Errorf("%s, every %v: %v, %v", framing, pause, res, err)
				}
			})
		}
	}
	all.Wait()
	for range 8 {
		if x := f.seen.next(t); x.Error != "" || x.Duration < limit {
			t.Errorf("%s: recorded as %q after %v", x.Target, x.Error, x.Duration)
		}
	}
}

func downloadSlowly(t *testing.T, f *front, path string) {
	p := dial(t, f.addr)
	_ = p.Conn.(*net.TCPConn).SetReadBuffer(narrowBuffer)
	p.send("GET " + path + " HTTP/1.0\r\nHost: " + shopHost + "\r\n\r\n")
	b, n := make([]byte, 32<<10), 0
	for {
		k, err := p.Read(b)
		if n += k; err != nil {
			break
		}
		time.Sleep(25 * time.Millisecond)
	}
	if n < moved {
		t.Errorf("%s: a slow reader got %d bytes of %d", path, n, moved)
	}
}

// TestStalled: who takes nothing any more is cut off, and that is told as what it is.
func TestStalled(t *testing.T) {
	f := narrow(t, Config{}, cloud.Limits{IdleTimeout: cloud.Duration(400 * time.Millisecond), KeepaliveTimeout: cloud.Duration(400 * time.Millisecond), AnswerTimeout: cloud.Duration(time.Second)}, movedBackend(t))
	for _, path := range []string{"/length", "/chunks"} {
		p := dial(t, f.addr)
		_ = p.Conn.(*net.TCPConn).SetReadBuffer(narrowBuffer)
		begun := time.Now()
		p.send(get(path, shopHost))
		if x := f.seen.next(t); x.Error != "client_timeout" || !x.clientGone() || x.failed() {
			t.Errorf("%s: a client that reads nothing is recorded as %q", path, x.Error)
		}
		if took := time.Since(begun); took < 300*time.Millisecond {
			t.Errorf("%s: cut off after %v", path, took)
		}
	}
	for _, framing := range []string{"Content-Length: 50000000", "Transfer-Encoding: chunked"} {
		p := dial(t, f.addr).send(request("POST", "/stalled", shopHost, framing))
		go func() {
			piece := "3e8\r\n" + strings.Repeat("x", 1000) + "\r\n"
			for {
				if _, err := io.WriteString(p, piece); err != nil {
					return
				}
			}
		}()
		res, body := p.answer("POST")
		if res.StatusCode != 504 || !strings.Contains(body, "400ms") {
			t.Errorf("an app that reads nothing, %s: %d %s", framing, res.StatusCode, body)
		}
		_ = p.Close()
	}
}

// TestLimitsAreOurs: who meets a limit of the router's is told that it is one, and how long it is.
func TestLimitsAreOurs(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{MaxBody: 100_000, HeaderTimeout: cloud.Duration(250 * time.Millisecond), IdleTimeout: cloud.Duration(300 * time.Millisecond), KeepaliveTimeout: cloud.Duration(300 * time.Millisecond), AnswerTimeout: cloud.Duration(350 * time.Millisecond)})
	release := make(chan struct{})
	defer close(release)
	f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		_, _ = http.ReadRequest(r)
		<-release
	}))
	for _, c := range []struct {
		request string
		status  int
		says    string
	}{
		{get("/", shopHost), 504, "350ms"},
		{request("POST", "/", shopHost, "Content-Length: 100") + "x", 408, "300ms"},
		{request("POST", "/", shopHost, "Content-Length: 100000") + "x", 408, "300ms"},
		{request("POST", "/", shopHost, "Content-Length: 100001"), 413, "100000 bytes"},
		{"GET / HTTP/1.1\r\nHost:", 408, "250ms"},
	} {
		res, body := dial(t, f.addr).send(c.request).answer("GET")
		if res.StatusCode != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%.40q: %d %s", c.request, res.StatusCode, body)
		}
	}
}
