package router

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

// echoHead answers with the head as it came.
func echoHead(t testing.TB) string {
	return rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			var head strings.Builder
			for line := ""; line != "\r\n"; head.WriteString(line) {
				var err error
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
			}
			if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", head.Len(), head.String()); err != nil {
				return
			}
		}
	})
}

var changing = regexp.MustCompile(`(?m)^(X-Request-Id: [0-9a-f]{32}|X-Request-Start: [0-9]{13}|Traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-01)\r$`)

func TestRequestFields(t *testing.T) {
	addr := echoHead(t)
	plain := newFront(t, Config{})
	plain.shop(addr)
	trusting := newFront(t, Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Local: func(netip.Addr) bool { return true }})
	trusting.shop(addr)
	f := func(front *front, fields, want string) {
		t.Helper()
		_, got := dial(t, front.addr).send(get("/a", "Shop.micro.test:80", strings.Split(fields, "|")...)).answer("GET")
		got = changing.ReplaceAllStringFunc(got, func(s string) string { return s[:strings.IndexByte(s, ':')] + ": …\r" })
		want = "GET /a HTTP/1.1|Host: Shop.micro.test:80|" + want + "|"
		if got := strings.ReplaceAll(got, "\r\n", "|"); got != want {
			t.Errorf("%s:\n got %s\nwant %s", fields, got, want)
		}
	}
	const (
		forwarded = "X-Forwarded-For: 127.0.0.1|X-Forwarded-Proto: http|X-Forwarded-Host: Shop.micro.test:80|Forwarded: for=127.0.0.1;host=\"Shop.micro.test:80\";proto=http|X-Request-Id: …|X-Request-Start: …|"
		trace     = "Traceparent: …|"
		given     = "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	)
	f(plain, "A: b", "A: b|"+forwarded+trace)
	f(plain, "a:  b \t", "a: b|"+forwarded+trace)
	f(plain, "X-Forwarded-For: 1.2.3.4|x-forwarded-proto: https|X-FORWARDED-HOST: evil|Forwarded: for=evil|X-Request-Id: 1|X-Request-Start: 1|X-Real-Ip: 1.2.3.4|X-Forwarded-Port: 1",
		forwarded+trace)
	f(plain, "X_Forwarded_For: 1.2.3.4|X-Forwarded_Proto: https|X_Real_IP: 1|Content_Length: 5|A_B: 1|C_D: 2|C-D: 3|X_Forwarded_Client_Certificate_Chain: 1",
		"A_B: 1|C-D: 3|"+forwarded+trace)
	f(plain, "Connection: close, A, X-Forwarded-For, Host, X-Request-Id|A: 1|B: 2", "B: 2|"+forwarded+trace)
	f(plain, "Keep-Alive: 5|Proxy: http://x|Proxy-Connection: x|Proxy-Authorization: x|TE: trailers, deflate|Upgrade: h2c|HTTP2-Settings: x|Connection: Upgrade, HTTP2-Settings",
		"TE: trailers|Connection: TE|"+forwarded+trace)
	f(plain, given+"|Tracestate: a=b|B3: 0", given+"|Tracestate: a=b|B3: 0|"+forwarded)
	f(plain, "Traceparent: nonsense", forwarded+trace)
	f(plain, "Expect: 100-continue|X-Micro-Release: r1|X-Micro-Error: x", forwarded+trace)
	f(trusting, "X-Forwarded-For: 1.2.3.4|X-Forwarded-For: 5.6.7.8|X-Forwarded-Proto: https|X-Forwarded-Host: www|Forwarded: for=1.2.3.4|X-Request-Id: mine|X-Request-Start: 7|X-Real-Ip: 9",
		"X-Real-Ip: 9|X-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.1|X-Forwarded-Proto: https|X-Forwarded-Host: www|Forwarded: for=1.2.3.4, for=127.0.0.1;host=\"Shop.micro.test:80\";proto=http|X-Request-Id: mine|X-Request-Start: 7|"+trace)
	f(trusting, "A: b", "A: b|"+forwarded+trace)
}

func TestIPv6Client(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(echoHead(t))
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = f.Serve(t.Context(), ln, Listener{Internal: true}) }()
	_, got := dial(t, ln.Addr().String()).send(get("/", shopHost)).answer("GET")
	for _, want := range []string{"X-Forwarded-For: ::1\r\n", "Forwarded: for=\"[::1]\";host="} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

func TestAnswerFields(t *testing.T) {
	var answer atomic.Value
	f := newFront(t, Config{})
	f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		if _, _, err := readRequest(r); err == nil {
			_, _ = c.Write([]byte(strings.ReplaceAll(answer.Load().(string), "|", "\r\n")))
		}
	}))
	try := func(from, want string) {
		t.Helper()
		answer.Store(from)
		p := dial(t, f.addr).send(get("/", shopHost, "Connection: close"))
		var b strings.Builder
		if _, err := p.r.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(b.String(), "\r\n", "|")
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", from, got, want)
		}
	}
	try("HTTP/1.1 200 OK|A:  b|Content-Length: 2||hi", "HTTP/1.1 200 OK|A: b|Content-Length: 2|Connection: close||hi")
	try("HTTP/1.1 200|Content-Length: 0||", "HTTP/1.1 200 |Content-Length: 0|Connection: close||")
	try("HTTP/1.0 200 OK|A: b||hi", "HTTP/1.1 200 OK|A: b|Transfer-Encoding: chunked|Connection: close||2|hi|0||")
	try("HTTP/1.1 200 OK|Connection: close, A|A: b|Keep-Alive: x|X-Micro-Error: forged|Content-Length: 0||", "HTTP/1.1 200 OK|Content-Length: 0|Connection: close||")
	try("HTTP/1.1 204 No Content|Content-Length: 0||", "HTTP/1.1 204 No Content|Connection: close||")
	try("HTTP/1.1 304 Not Modified|Content-Length: 99||", "HTTP/1.1 304 Not Modified|Content-Length: 99|Connection: close||")
	try("HTTP/1.1 200 OK|Transfer-Encoding: chunked||2;x=y|hi|0|X-Sum: 1|Host: x||", "HTTP/1.1 200 OK|Transfer-Encoding: chunked|Connection: close||2|hi|0|X-Sum: 1||")
	try("HTTP/1.1 103 Early Hints|Link: </a>||HTTP/1.1 200 OK|Content-Length: 2||hi", "HTTP/1.1 103 Early Hints|Link: </a>||HTTP/1.1 200 OK|Content-Length: 2|Connection: close||hi")
	try("HTTP/1.1 200 OK|Content-Length: 2||hi, and more", "HTTP/1.1 200 OK|Content-Length: 2|Connection: close||hi")
	for _, bad := range []string{
		"HTTP/1.1 200 OK|Content-Length: 2|Transfer-Encoding: chunked||0||", "HTTP/1.1 200 OK|Content-Length: x||", "HTTP/1.1 200 OK\n\n",
		"HTTP/1.1 101 Switching Protocols|Upgrade: x|Connection: upgrade||", "nonsense||", "HTTP/1.1 20 OK||", "HTTP/1.1 200 OK|A : b||",
		"HTTP/1.1 200 OK|A: b", "",
	} {
		answer.Store(bad)
		res, _ := dial(t, f.addr).send(get("/", shopHost)).answer("GET")
		if res.StatusCode != 502 || res.Header.Get("X-Micro-Error") != "endpoint_failure" {
			t.Errorf("%q: got %d", bad, res.StatusCode)
		}
	}
}

func TestHead(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "1000") }))
	p := dial(t, f.addr)
	for range 3 {
		res, _ := p.send(request("HEAD", "/", shopHost)).answer("HEAD")
		if res.StatusCode != 200 || res.ContentLength != 1000 {
			t.Fatalf("got %d, length %d", res.StatusCode, res.ContentLength)
		}
	}
	if res, _ := p.send(request("HEAD", "/", "nobody")).answer("HEAD"); res.StatusCode != 404 {
		t.Fatalf("got %d", res.StatusCode)
	}
	if res, _ := p.send(get("/", "nobody", "Accept: text/html")).answer("GET"); res.StatusCode != 404 || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("got %v", res)
	}
}
