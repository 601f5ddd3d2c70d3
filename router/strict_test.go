package router

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// TestStrict says on raw sockets what the running front answers to what it must not pass on.
func TestStrict(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{HeaderTimeout: cloud.Duration(300 * time.Millisecond)})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		// An app that answers before it has read the body would have its answer passed on.
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	try := func(request string, want int) {
		t.Helper()
		p := dial(t, f.addr).send(strings.ReplaceAll(request, "|", "\r\n"))
		res, _ := p.answer("GET")
		if res.StatusCode != want {
			t.Errorf("%q: got %d, want %d", request, res.StatusCode, want)
			return
		}
		if want == 200 {
			return
		}
		if code := res.Header.Get("X-Micro-Error"); code != "bad_request" {
			t.Errorf("%q: X-Micro-Error %q", request, code)
		}
		if !res.Close || !p.closed() {
			t.Errorf("%q: the connection stays open", request)
		}
	}
	const h = "Host: shop.micro.test|"
	try("GET / HTTP/1.1|"+h+"|", 200)
	try("||GET / HTTP/1.1|"+h+"|", 200)
	try("GET http://shop.micro.test/ HTTP/1.1|Host: other|"+"|", 200)
	try("OPTIONS * HTTP/1.1|"+h+"|", 200)

	try("POST / HTTP/1.1|"+h+"Content-Length: 3|Transfer-Encoding: chunked||0||", 400)
	try("POST / HTTP/1.1|"+h+"Content-Length: 3|Content-Length: 4||abc", 400)
	try("POST / HTTP/1.0|"+h+"Transfer-Encoding: chunked||0||", 400)
	try("POST / HTTP/1.1|"+h+"Transfer-Encoding: chunked, identity||0||", 400)
	try("POST / HTTP/1.1|"+h+"Transfer-Encoding: gzip, chunked||0||", 501)
	try("POST / HTTP/1.1|"+h+"Transfer-Encoding: chunked||x|", 400)
	try("POST / HTTP/1.1|"+h+"Transfer-Encoding: chunked||3|abcd|0||", 400)
	try("POST / HTTP/1.1|"+h+"Transfer-Encoding: chunked||3\nabc\r\n0||", 400)
	try("POST / HTTP/1.1|"+h+"Transfer-Encoding: chunked||0|X y||", 400)
	try("GET / HTTP/1.1\nHost: shop.micro.test\n\n", 400)
	try("GET / HTTP/1.1|"+h+"X: 1\nY: 2||", 400)
	try("GET / HTTP/1.1|"+h+"X: 1| folded||", 400)
	try("GET / HTTP/1.1||", 400)
	try("GET / HTTP/1.1|"+h+h+"|", 400)
	try("GET / HTTP/1.1|Host: shop.micro.test, other||", 400)
	try("GET / HTTP/1.1|"+h+"X : 1||", 400)
	try("GET /#a HTTP/1.1|"+h+"|", 400)
	try("GET /\x01 HTTP/1.1|"+h+"|", 400)
	try("GET /a\x00 HTTP/1.1|"+h+"|", 400)
	try("GET / HTTP/1.1|"+h+"X: \x00||", 400)
	try("TRACE / HTTP/1.1|"+h+"|", 405)
	try("CONNECT shop.micro.test:80 HTTP/1.1|"+h+"|", 405)
	try("PRI * HTTP/2.0||SM||", 505)
	try("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400)
	try("GET / HTTP/1.1|"+h+strings.Repeat("X: y|", 100)+"|", 431)
	try("GET / HTTP/1.1|"+h+"X: "+strings.Repeat("y", 33<<10)+"||", 431)
	try("GET /"+strings.Repeat("y", 33<<10)+" HTTP/1.1|"+h+"|", 431)
	// A head that never ends (slowloris).
	try("GET / HTTP/1.1|"+h+"X: y|", 408)
}

// TestBigHead passes a head of nearly the limit on.
func TestBigHead(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Y", r.Header.Get("X"))
	}))
	p := dial(t, f.addr)
	for _, n := range []int{3 << 10, 4 << 10, 31 << 10} {
		big := strings.Repeat("y", n)
		if res, _ := p.send(get("/", shopHost, "X: "+big) + get("/", shopHost)).answer("GET"); res.Header.Get("Y") != big {
			t.Errorf("%d: got %d", n, len(res.Header.Get("Y")))
		}
		if res, _ := p.answer("GET"); res.StatusCode != 200 {
			t.Errorf("%d: the request behind it: %d", n, res.StatusCode)
		}
	}
}

// TestHosts says which hosts are known on which listener, however they are written.
func TestHosts(t *testing.T) {
	f := newFront(t, Config{})
	f.world.vhost(t, "www.example.com", "public", map[string][]string{"/": {"shop"}})
	f.world.vhost(t, "*.example.org", "public", map[string][]string{"/": {"shop"}})
	f.world.vhost(t, "empty.example.com", "public", nil)
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {}))
	try := func(addr, request string, want int) {
		t.Helper()
		res, _ := dial(t, addr).send(strings.ReplaceAll(request, "|", "\r\n")).answer("GET")
		if res.StatusCode != want {
			t.Errorf("%q: got %d, want %d", request, res.StatusCode, want)
		}
	}
	for _, host := range []string{
		"www.example.com", "WWW.Example.COM", "www.example.com.", "www.example.com:80", "WWW.EXAMPLE.COM.:8080",
		"a.example.org", "A.EXAMPLE.ORG.:1",
	} {
		try(f.addr, "GET / HTTP/1.1|Host: "+host+"||", 200)
		try(f.public, "GET / HTTP/1.1|Host: "+host+"||", 200)
	}
	for _, host := range []string{
		"shop.micro.test", "SHOP.micro.test", "shop.micro.test.", "shop.micro.test:80", "shop-20261122-r1.micro.test",
		"shop.localhost", "shop.LOCALHOST:8080",
	} {
		try(f.addr, "GET / HTTP/1.1|Host: "+host+"||", 200)
		try(f.addr, "GET http://"+host+"/ HTTP/1.1|Host: nobody||", 200)
		try(f.public, "GET / HTTP/1.1|Host: "+host+"||", 404)
		try(f.public, "GET http://"+host+"/ HTTP/1.1|Host: www.example.com||", 404)
	}
	for _, host := range []string{
		"nobody.micro.test", "micro.test", "shop.micro.test..", ".shop.micro.test", "shop-20261122-r2.micro.test", "shop-20261121-r1.micro.test",
		"a.b.example.org", "example.org", ".example.org", "*.example.org", "localhost", "127.0.0.1", "[::1]", "shop.micro.test.localhost", strings.Repeat("a", 254),
	} {
		if host == "*.example.org" {
			continue // the wildcard's own name is a name of one label more, and is answered
		}
		try(f.addr, "GET / HTTP/1.1|Host: "+host+"||", 404)
		try(f.public, "GET / HTTP/1.1|Host: "+host+"||", 404)
	}
	try(f.addr, "GET / HTTP/1.1|Host: empty.example.com||", 503)
	try(f.public, "GET / HTTP/1.1|Host: empty.example.com||", 503)
	// The two 404s are the same but for what is told apart by design.
	page := func(host string) string {
		res, body := dial(t, f.public).send(get("/", host, "Accept: text/html")).answer("GET")
		id := res.Header.Get("X-Request-Id")
		res.Header.Del("X-Request-Id")
		res.Header.Del("Date")
		var b strings.Builder
		_ = res.Header.Write(&b)
		return b.String() + strings.ReplaceAll(body, id, "")
	}
	if a, b := page("shop.micro.test"), page("unknown.micro.test"); a != b {
		t.Errorf("an internal host shows on the public listener:\n%s\n%s", a, b)
	}
}
