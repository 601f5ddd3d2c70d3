package router

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestProxy(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %d", r.Method, r.URL, r.Host, len(b))
	}))
	p := dial(t, f.addr)
	for i := range 3 {
		res, body := p.send(get(fmt.Sprintf("/a?b=%d", i), shopHost)).answer("GET")
		if want := fmt.Sprintf("GET /a?b=%d shop.micro.test 0", i); res.StatusCode != 200 || body != want {
			t.Fatalf("got %d %q, want %q", res.StatusCode, body, want)
		}
	}
	for _, n := range []int{1, 4000, 16 << 10, 40 << 10, 3 << 20} {
		p.send(request("POST", "/p", shopHost, fmt.Sprintf("Content-Length: %d", n)) + strings.Repeat("x", n))
		if res, body := p.answer("POST"); res.StatusCode != 200 || body != fmt.Sprintf("POST /p shop.micro.test %d", n) {
			t.Fatalf("%d bytes: got %d %q", n, res.StatusCode, body)
		}
		p.send(request("POST", "/c", shopHost, "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n1\r\ny\r\n0\r\n\r\n", n, strings.Repeat("x", n)))
		if res, body := p.answer("POST"); res.StatusCode != 200 || body != fmt.Sprintf("POST /c shop.micro.test %d", n+1) {
			t.Fatalf("%d bytes chunked: got %d %q", n, res.StatusCode, body)
		}
	}
	// Two requests at once are answered one after the other.
	p.send(get("/1", shopHost) + get("/2", shopHost))
	for i := 1; i <= 2; i++ {
		if _, body := p.answer("GET"); body != fmt.Sprintf("GET /%d shop.micro.test 0", i) {
			t.Fatalf("pipelined: %q", body)
		}
	}
	res, _ := p.send(get("/", "nobody.micro.test")).answer("GET")
	if res.StatusCode != 404 || res.Header.Get("X-Micro-Error") != "unknown_route" {
		t.Fatalf("unknown host: %v", res)
	}
}

func TestBigAnswer(t *testing.T) {
	f := newFront(t, Config{})
	big := strings.Repeat("0123456789abcdef", 1<<16)
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/length":
			w.Header().Set("Content-Length", fmt.Sprint(len(big)))
		case "/small":
			w.Header().Set("Content-Length", "65536")
			io.WriteString(w, big[:65536])
			return
		}
		io.WriteString(w, big)
	}))
	p := dial(t, f.addr)
	for range 3 {
		for _, path := range []string{"/length", "/chunked"} {
			if _, body := p.send(get(path, shopHost)).answer("GET"); body != big {
				t.Fatalf("%s: %d bytes, want %d", path, len(body), len(big))
			}
		}
		if _, body := p.send(get("/small", shopHost)).answer("GET"); body != big[:65536] {
			t.Fatalf("small: %d bytes", len(body))
		}
	}
	// HTTP/1.0 knows no chunks.
	p.send("GET /chunked HTTP/1.0\r\nHost: shop.micro.test\r\n\r\n")
	if res, body := p.answer("GET"); body != big || !res.Close || len(res.TransferEncoding) > 0 {
		t.Fatalf("HTTP/1.0: %d bytes, %v", len(body), res.TransferEncoding)
	}
}

// TestPipelined: what follows a body in the same packet is the next request, whatever the body's framing.
func TestPipelined(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d %s", r.URL.Path, len(b), r.Trailer.Get("X-Sum"))
	}))
	big := strings.Repeat("x", 100_000)
	all := request("POST", "/1", shopHost, "Transfer-Encoding: chunked", "Trailer: X-Sum") + "5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n" +
		get("/2", shopHost) +
		request("POST", "/3", shopHost, "Content-Length: 5") + "hello\r\n" + // an empty line too many, as old browsers send
		request("POST", "/4", shopHost, "Content-Length: 100000") + big +
		request("POST", "/5", shopHost, "Transfer-Encoding: chunked") + "186a0\r\n" + big + "\r\n0\r\n\r\n" +
		"GET /6 HTTP/1.0\r\nHost: shop.micro.test\r\nConnection: keep-alive\r\n\r\n" +
		"GET /7 HTTP/1.0\r\nHost: shop.micro.test\r\n\r\n"
	p := dial(t, f.addr)
	go func() { _, _ = io.WriteString(p, all) }()
	for _, want := range []string{"/1 5 7", "/2 0 ", "/3 5 ", "/4 100000 ", "/5 100000 ", "/6 0 ", "/7 0 "} {
		if _, got := p.answer("GET"); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if !p.closed() {
		t.Error("open after HTTP/1.0")
	}
}
