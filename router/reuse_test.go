package router

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// script is a backend that reads heads and no bodies, and sends what its path says, each piece 20 ms after the
// one before; other paths are answered with what their query says. It closes a connection only after nonsense. Sent gets a
// value when all pieces of an answer are sent, or the connection is closed.
func script(t testing.TB, answers map[string][]string) (addr string, sent <-chan struct{}) {
	done := make(chan struct{}, 100)
	return rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			q, err := http.ReadRequest(r) // the body stays where it is
			if err != nil {
				_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\njunk")
				return
			}
			pieces, ok := answers[q.URL.Path]
			if !ok {
				who := q.URL.Query().Get("who")
				pieces = []string{fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(who), who)}
			}
			for i, piece := range pieces {
				if i > 0 {
					time.Sleep(20 * time.Millisecond)
				}
				if _, err = io.WriteString(c, strings.ReplaceAll(piece, "|", "\r\n")); err != nil {
					break
				}
			}
			if ok {
				done <- struct{}{}
			}
			if err != nil {
				return
			}
		}
	}), done
}

// ask sends a request on a connection of its own and returns the answer's body.
func ask(t testing.TB, addr, request string) (int, string) {
	t.Helper()
	p := dial(t, addr).send(request)
	defer p.Close()
	method, _, _ := strings.Cut(request, " ")
	res, body := p.answer(method)
	return res.StatusCode, body
}

// TestUnaskedBytes: what an upstream sends beyond its answer is nobody's answer.
func TestUnaskedBytes(t *testing.T) {
	const poison = "HTTP/1.1 200 OK|Content-Length: 8||poisoned"
	f := newFront(t, Config{})
	addr, sent := script(t, map[string][]string{
		"/head/body":      {"HTTP/1.1 200 OK|Content-Length: 8||", "the body"},
		"/head/with-body": {"HTTP/1.1 200 OK|Content-Length: 8||the body"},
		"/head/chunks":    {"HTTP/1.1 200 OK|Transfer-Encoding: chunked||", "2|hi|0||"},
		"/head/late":      {"HTTP/1.1 200 OK|Content-Length: 8||", poison},
		"/head/none":      {"HTTP/1.1 200 OK||", poison},
		"/204/chunks":     {"HTTP/1.1 204 No Content|Transfer-Encoding: chunked||", "0||"},
		"/204/length":     {"HTTP/1.1 204 No Content|Content-Length: 3||", "abc"},
		"/304/body":       {"HTTP/1.1 304 Not Modified|Content-Length: 8||", "the body"},
		"/304/late":       {"HTTP/1.1 304 Not Modified|Content-Length: 8||", poison},
		"/get/late":       {"HTTP/1.1 200 OK|Content-Length: 2||ok", poison},
		"/get/large":      {"HTTP/1.1 200 OK|Content-Length: 1000000||" + strings.Repeat("x", 1000000), poison},
		"/get/chunks":     {"HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ok|0||", poison},
		"/get/at-once":    {"HTTP/1.1 200 OK|Content-Length: 2||ok" + poison},
		"/get/interim":    {"HTTP/1.1 200 OK|Content-Length: 2||ok", "HTTP/1.1 103 Early Hints||"},
		"/get/crlf":       {"HTTP/1.1 200 OK|Content-Length: 2||ok", "|"},
	})
	f.shop(addr)
	before, after := []bool{false}, []bool{true}
	both := []bool{false, true}
	for path, whens := range map[string][]bool{
		// Whose length is in doubt: the next request comes before the bytes do, or after them.
		"HEAD /head/body": both, "HEAD /head/with-body": before, "HEAD /head/chunks": both, "HEAD /head/late": both, "HEAD /head/none": both,
		"GET /204/chunks": both, "GET /204/length": both, "GET /304/body": both, "GET /304/late": both,
		// Beyond an answer of a certain length: the bytes wait on an idle connection.
		"GET /get/late": after, "GET /get/large": after, "GET /get/chunks": after, "GET /get/at-once": before, "GET /get/interim": after, "GET /get/crlf": after,
	} {
		for _, late := range whens {
			method, target, _ := strings.Cut(path, " ")
			ask(t, f.addr, request(method, target, shopHost))
			if late {
				<-sent
			}
			for _, who := range []string{"alice", "bob", "carol"} {
				if status, got := ask(t, f.addr, get("/?who="+who, shopHost)); status != 200 || got != who {
					t.Errorf("%s (after its bytes: %t): %s got %d %q", path, late, who, status, got)
				}
				time.Sleep(5 * time.Millisecond)
			}
			if !late {
				<-sent
			}
		}
	}
}

// TestReusedAfterPlainAnswers: an answer whose end is certain leaves the connection to the next request.
func TestReusedAfterPlainAnswers(t *testing.T) {
	var mu sync.Mutex
	conns := map[string]bool{}
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		conns[r.RemoteAddr] = true
		mu.Unlock()
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.WriteHeader(304)
		case "/chunks":
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "hi")
		default:
			_, _ = io.WriteString(w, "hi")
		}
	}))
	for range 3 {
		for _, path := range []string{"/", "/204", "/304", "/chunks"} {
			ask(t, f.addr, get(path, shopHost))
			eventually(t, func() bool { return f.Stats().InFlight[ref("shop").Release(1)] == 0 })
		}
	}
	if len(conns) != 1 {
		t.Errorf("%d connections for requests one after the other", len(conns))
	}
}

// TestUnreadBody: an app that answers without reading a request's body takes what is left for the next
// request. Whose request that would be, gets an answer of its own all the same.
func TestUnreadBody(t *testing.T) {
	for name, cfg := range map[string]Config{
		"plain":            {},
		"behind our proxy": {TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	} {
		f := newFront(t, cfg)
		addr, _ := script(t, nil)
		f.shop(addr)
		smuggled := get("/?who=mallory", shopHost)
		half := "GET /?who=mallory HTTP/1.1\r\nHost: x\r\nX: "
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE", "PROPFIND", "POST", "PUT", "PATCH"} {
			for _, body := range []string{smuggled, half, "x", strings.Repeat("y", 40<<10) + smuggled} {
				for _, framing := range []string{"Content-Length", "Transfer-Encoding"} {
					whole := request(method, "/?who=mallory", shopHost, fmt.Sprintf("Content-Length: %d", len(body))) + body
					if framing == "Transfer-Encoding" {
						whole = request(method, "/?who=mallory", shopHost, "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
					}
					p := dial(t, f.addr)
					go func() { _, _ = io.WriteString(p, whole) }()
					if res, err := http.ReadResponse(p.r, &http.Request{Method: method}); err != nil {
						t.Errorf("%s: %s with a body by %s: %v", name, method, framing, err)
					} else {
						_, _ = io.Copy(io.Discard, res.Body)
					}
					if cfg.TrustedProxies != nil {
						// A proxy sends other people's requests on the same connection.
						if method == "POST" && len(body) < 1000 && framing == "Content-Length" {
							if _, got := p.send(get("/?who=eve", shopHost)).answer("GET"); got != "eve" {
								t.Errorf("%s: after a %s: eve got %q", name, method, got)
							}
						}
					}
					for _, who := range []string{"alice", "bob"} {
						if status, got := ask(t, f.addr, get("/?who="+who, shopHost)); status != 200 || got != who {
							t.Fatalf("%s: after a %s with a body by %s: %s got %d %q", name, method, framing, who, status, got)
						}
					}
					p.Close()
				}
			}
		}
	}
}

// TestOwnConnection: a connection that has carried a body serves the bodies of the same client only, and ends
// with it.
func TestOwnConnection(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, r.RemoteAddr)
	}))
	post := func(p *peer, fields ...string) string {
		t.Helper()
		p.send(request("POST", "/", shopHost, append(fields, "Content-Length: 5")...) + "hello")
		_, by := p.answer("POST")
		return by
	}
	alice, bob := dial(t, f.addr), dial(t, f.addr)
	first := post(alice)
	if again := post(alice); again != first {
		t.Error("two POSTs of one client went by two connections")
	}
	if other := post(bob); other == first {
		t.Error("two clients' POSTs went by one connection")
	}
	if _, by := alice.send(get("/", shopHost)).answer("GET"); by == first {
		t.Error("a GET went by a connection that has carried a body")
	}
	for _, sign := range []string{"Origin: null", "Via: 1.1 proxy", "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "X-Real-Ip: 192.0.2.1"} {
		p := dial(t, f.addr)
		if post(p, sign) == post(p, sign) {
			t.Errorf("%s: two POSTs went by one connection", sign)
		}
	}
	e, _ := f.Table().endpoints.lookup("shop-r1-1")
	idle := func() int {
		e.idle.mu.Lock()
		defer e.idle.mu.Unlock()
		return len(e.idle.owned) + len(e.idle.parting)
	}
	eventually(t, func() bool { return idle() == 2 })
	_, _ = alice.Close(), bob.Close()
	eventually(t, func() bool { return idle() == 0 })
}

// TestEchoChunkedBothWays: the answer comes while the body is still being sent, both in chunks.
func TestEchoChunkedBothWays(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Trailer", "X-Sum")
		w.(http.Flusher).Flush()
		b := make([]byte, 3000)
		for {
			n, err := r.Body.Read(b)
			_, _ = w.Write(b[:n])
			w.(http.Flusher).Flush()
			if err != nil {
				break
			}
		}
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum"))
	}))
	rng := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		sent := make([]byte, 2<<20)
		for i := range sent {
			sent[i] = byte(rng.Uint32())
		}
		p := dial(t, f.addr).send(request("POST", "/", shopHost, "Transfer-Encoding: chunked", "Trailer: X-Sum"))
		go func() {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+rng.IntN(20_000))
				if _, err := fmt.Fprintf(p, "%x\r\n%s\r\n", n, rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
			_, _ = io.WriteString(p, "0\r\nX-Sum: 7\r\n\r\n")
		}()
		res, err := http.ReadResponse(p.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		if err != nil || sha256.Sum256(got) != sha256.Sum256(sent) {
			same := 0
			for same < min(len(got), len(sent)) && got[same] == sent[same] {
				same++
			}
			t.Fatalf("%d bytes of %d, the same up to %d, %v", len(got), len(sent), same, err)
		}
		if res.Trailer.Get("X-Sum") != "7" {
			t.Errorf("trailer %v", res.Trailer)
		}
		p.Close()
	}
}

// TestRecordedAsItCame: whatever happens while a request is under way, it is recorded with its own method,
// host, target and ID.
func TestRecordedAsItCame(t *testing.T) {
	f := newFront(t, Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, cloud.Limits{MaxBody: 100_000})
	release := make(chan struct{})
	f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if q.Header.Get("Upgrade") != "" {
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
				_, _ = io.Copy(io.Discard, r)
				return
			}
			_, _ = io.Copy(io.Discard, q.Body)
			if q.URL.Path == "/wait" {
				<-release
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}))
	for name, c := range map[string]struct{ head, middle string }{
		"websocket":    {get("/mine?secret", shopHost, "X-Request-Id: mine", "Connection: Upgrade", "Upgrade: websocket"), "frames"},
		"chunked":      {request("POST", "/mine?secret", shopHost, "X-Request-Id: mine", "Transfer-Encoding: chunked"), "3\r\nabc\r\n"},
		"large":        {request("POST", "/mine?secret", shopHost, "X-Request-Id: mine", "Content-Length: 50000"), "abc"},
		"small":        {request("POST", "/mine?secret", shopHost, "X-Request-Id: mine", "Content-Length: 5000"), "abc"},
		"too large":    {request("POST", "/mine?secret", shopHost, "X-Request-Id: mine", "Accept: text/html", "Transfer-Encoding: chunked"), "1e848\r\n" + strings.Repeat("x", 125_000)},
		"waits for it": {get("/wait?mine", shopHost, "X-Request-Id: mine"), ""},
	} {
		method, rest, _ := strings.Cut(c.head, " ")
		target, _, _ := strings.Cut(rest, " ")
		p := dial(t, f.addr).send(c.head)
		time.Sleep(5 * time.Millisecond)
		if c.middle != "" {
			p.send(c.middle)
		}
		time.Sleep(5 * time.Millisecond)
		for range 20 {
			other := dial(t, f.addr).send(get("/other", shopHost, "Authorization: Bearer of-somebody-else", "Cookie: session=of-somebody-else"))
			other.answer("GET")
			_ = other.Close()
		}
		if name == "waits for it" {
			close(release)
		} else {
			_ = p.Close()
		}
		for {
			x := f.seen.next(t)
			if string(x.Target) == "/other" {
				continue
			}
			if string(x.Method) != method || string(x.Host) != shopHost || string(x.Target) != target || string(x.RequestID) != "mine" {
				t.Errorf("%s: recorded as %.200q %.200q %.200q %.200q", name, x.Method, x.Host, x.Target, x.RequestID)
			}
			break
		}
	}
}

// TestRefusedAsAsked: a refusal in the middle of an upload still knows what the request said that it takes.
func TestRefusedAsAsked(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{MaxBody: 1000})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	p := dial(t, f.addr).send(request("POST", "/", shopHost, "Accept: text/html", "Transfer-Encoding: chunked"))
	time.Sleep(5 * time.Millisecond)
	p.send("800\r\n" + strings.Repeat("x", 0x800))
	res, body := p.answer("POST")
	if res.StatusCode != 413 || res.Header.Get("Content-Type") != "text/html; charset=utf-8" || !bytes.Contains([]byte(body), []byte("<html")) {
		t.Errorf("got %d %v", res.StatusCode, res.Header)
	}
}
