package h1

import (
	"errors"
	"strings"
	"testing"
)

func TestRequestRefused(t *testing.T) {
	const host = "Host: a\r\n"
	f := func(head string, want error) {
		t.Helper()
		head = strings.ReplaceAll(head, "|", "\r\n")
		n, err := End([]byte(head), 0)
		if err == nil && n == 0 {
			t.Errorf("%q: no end", head)
			return
		}
		if err == nil {
			err = new(Request).Parse([]byte(head[:n]))
		}
		if !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", head, err, want)
		}
	}
	f("GET / HTTP/1.1|Host: a||", nil)
	f("GET / HTTP/1.0|Host: a||", nil)
	f("OPTIONS * HTTP/1.1|Host: a||", nil)
	f("GET / HTTP/1.1|Host: a:80||", nil)
	f("GET / HTTP/1.1|Host: [::1]:80||", nil)
	f("GET / HTTP/1.1|Host: a|X: \x80\tb||", nil)
	f("GET / HTTP/1.1|Host: a|X:||", nil)

	f("GET / HTTP/1.1|Host: a|Content-Length: 1|Transfer-Encoding: chunked||", ErrTwoLengths)
	f("GET / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Content-Length: 1||", ErrTwoLengths)
	f("GET / HTTP/1.1|Host: a|Content-Length: 1|Content-Length: 2||", ErrLength)
	f("GET / HTTP/1.1|Host: a|Content-Length: 1|Content-Length: 1||", ErrLength)
	f("GET / HTTP/1.1|Host: a|Content-Length: 1, 1||", ErrLength)
	f("GET / HTTP/1.1|Host: a|Content-Length: +1||", ErrLength)
	f("GET / HTTP/1.1|Host: a|Content-Length: -1||", ErrLength)
	f("GET / HTTP/1.1|Host: a|Content-Length: 0x1||", ErrLength)
	f("GET / HTTP/1.1|Host: a|Content-Length: 1 2||", ErrLength)
	f("GET / HTTP/1.1|Host: a|Content-Length:||", ErrLength)
	f("GET / HTTP/1.1|Host: a|Content-Length: 9999999999999999999||", ErrLength)
	f("GET / HTTP/1.0|Host: a|Transfer-Encoding: chunked||", ErrEncoding)
	f("GET / HTTP/1.1|Host: a|Transfer-Encoding: identity||", ErrEncoding)
	f("GET / HTTP/1.1|Host: a|Transfer-Encoding: chunked, gzip||", ErrEncoding)
	f("GET / HTTP/1.1|Host: a|Transfer-Encoding: chunked, chunked||", ErrEncoding)
	f("GET / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Transfer-Encoding: chunked||", ErrEncoding)
	f("GET / HTTP/1.1|Host: a|Transfer-Encoding: xchunked||", ErrEncoding)
	f("GET / HTTP/1.1|Host: a|Transfer-Encoding: \x0bchunked||", ErrValue)
	f("GET / HTTP/1.1|Host: a|Transfer-Encoding:||", ErrEncoding)
	f("GET / HTTP/1.1|Host: a|Transfer-Encoding: gzip, chunked||", ErrCoding)
	f("GET / HTTP/1.1|Host: a|Transfer-Encoding : chunked||", ErrName)
	f("GET / HTTP/1.1|Host: a|Content-Length : 1||", ErrName)
	f("GET / HTTP/1.1|Host: a|X: 1| folded||", ErrFold)
	f("GET / HTTP/1.1|Host: a|X: 1|\tfolded||", ErrFold)
	f("GET / HTTP/1.1| Host: a||", ErrFold)
	f("GET / HTTP/1.1|Host: a|X: a\x00b||", ErrValue)
	f("GET / HTTP/1.1|Host: a|X: a\x7fb||", ErrValue)
	f("GET / HTTP/1.1|Host: a|X: a\rb||", ErrValue)
	f("GET / HTTP/1.1|Host: a|X(: b||", ErrName)
	f("GET / HTTP/1.1|Host: a|: b||", ErrName)
	f("GET / HTTP/1.1|Host: a|no colon||", ErrName)
	f("GET / HTTP/1.1|Host: a|X\x80: b||", ErrName)

	f("GET / HTTP/1.1\nHost: a\n\n", ErrBareLF)
	f("GET / HTTP/1.1\nHost: a||", ErrBareLF)
	f("GET / HTTP/1.1|Host: a\nX: b||", ErrBareLF)
	f("GET / HTTP/1.1|Host: a|X: b\n|", ErrBareLF)
	f("\nGET / HTTP/1.1|Host: a||", ErrBareLF)
	f("GET /\rX HTTP/1.1|Host: a||", ErrBareCR)

	f("GET / HTTP/1.1||", ErrHost)
	f("GET / HTTP/1.0||", ErrHost)
	f("GET / HTTP/1.1|Host: a|Host: a||", ErrHost)
	f("GET / HTTP/1.1|Host: a|Host: b||", ErrHost)
	f("GET / HTTP/1.1|Host:||", ErrHost)
	f("GET / HTTP/1.1|Host: a b||", ErrHost)
	f("GET / HTTP/1.1|Host: a/b||", ErrHost)
	f("GET / HTTP/1.1|Host: u@a||", ErrHost)
	f("GET / HTTP/1.1|Host: a,b||", nil) // a sub-delim of reg-name: known to no table
	f("GET / HTTP/1.1|Host: a:8x||", ErrHost)
	f("GET / HTTP/1.1|Host: a:1:2||", ErrHost)
	f("GET / HTTP/1.1|Host: [::1||", ErrHost)
	f("GET / HTTP/1.1|Host: [::1]x||", ErrHost)
	f("GET / HTTP/1.1|Host: a\\b||", ErrHost)
	f("GET / HTTP/1.1|Host: a%00||", ErrHost)
	f("GET http://b/ HTTP/1.1||", ErrHost)
	f("GET http://b/ HTTP/1.1|Host: a b||", ErrHost)

	f("GET /#x HTTP/1.1|"+host+"|", ErrTarget)
	f("GET /\x01 HTTP/1.1|"+host+"|", ErrTarget)
	f("GET /\x7f HTTP/1.1|"+host+"|", ErrTarget)
	f("GET /a b HTTP/1.1|"+host+"|", ErrTarget)
	f("GET /\t HTTP/1.1|"+host+"|", ErrTarget)
	f("GET a HTTP/1.1|"+host+"|", ErrTarget)
	f("GET * HTTP/1.1|"+host+"|", ErrTarget)
	f("GET http:///x HTTP/1.1|"+host+"|", ErrTarget)
	f("GET http://u@b/x HTTP/1.1|"+host+"|", ErrTarget)
	f("GET ftp://b/x HTTP/1.1|"+host+"|", ErrTarget)
	f("GET  HTTP/1.1|"+host+"|", ErrLine)
	f("GET  / HTTP/1.1|"+host+"|", ErrTarget)
	f("GET /  HTTP/1.1|"+host+"|", ErrTarget)
	f("GET /|"+host+"|", ErrLine)
	f("GET / HTTP/1.1 |"+host+"|", ErrLine)
	f("GET / http/1.1|"+host+"|", ErrLine)
	f("GET / HTTP/11|"+host+"|", ErrLine)
	f("GET / HTTP/1.2|"+host+"|", ErrVersion)
	f("GET / HTTP/2.0|"+host+"|", ErrVersion)
	f("PRI * HTTP/2.0||", ErrVersion)
	f("G T / HTTP/1.1|"+host+"|", ErrTarget)
	f("G(T / HTTP/1.1|"+host+"|", ErrLine)
	f("TRACE / HTTP/1.1|"+host+"|", ErrMethod)
	f("CONNECT a:1 HTTP/1.1|"+host+"|", ErrMethod)
	f("\x16\x03\x01\x02||", ErrLine)

	f("GET / HTTP/1.1|"+host+strings.Repeat("X: y|", 99)+"|", nil)
	f("GET / HTTP/1.1|"+host+strings.Repeat("X: y|", 100)+"|", ErrTooMany)
	f("GET / HTTP/1.1|"+host+"X: "+strings.Repeat("y", MaxHead)+"||", ErrTooLarge)
}

func TestRequestRead(t *testing.T) {
	f := func(head, wantTarget, wantHost string) {
		t.Helper()
		var r Request
		if err := r.Parse([]byte(strings.ReplaceAll(head, "|", "\r\n"))); err != nil {
			t.Errorf("%q: %v", head, err)
			return
		}
		if string(r.Target) != wantTarget || string(r.Host) != wantHost {
			t.Errorf("%q: got %q at %q, want %q at %q", head, r.Target, r.Host, wantTarget, wantHost)
		}
	}
	f("GET /a?b HTTP/1.1|Host: x||", "/a?b", "x")
	f("GET http://y/a?b HTTP/1.1|Host: x||", "/a?b", "y")
	f("GET HTTPS://y:1 HTTP/1.1|Host: x||", "/", "y:1")
	f("OPTIONS http://y HTTP/1.1|Host: x||", "*", "y")
	f("GET //z/a HTTP/1.1|Host:\t x \t||", "//z/a", "x")
}

func TestKeepAlive(t *testing.T) {
	f := func(head string, wantClose bool) {
		t.Helper()
		var r Request
		if err := r.Parse([]byte(strings.ReplaceAll(head, "|", "\r\n"))); err != nil || r.Close != wantClose {
			t.Errorf("%q: close %v, %v", head, r.Close, err)
		}
	}
	f("GET / HTTP/1.1|Host: x||", false)
	f("GET / HTTP/1.1|Host: x|Connection: foo, CLOSE||", true)
	f("GET / HTTP/1.1|Host: x|Connection: closed||", false)
	f("GET / HTTP/1.0|Host: x||", true)
	f("GET / HTTP/1.0|Host: x|Connection: Keep-Alive||", false)
}

func TestNames(t *testing.T) {
	for name, want := range map[string]Name{
		"TE": TE, "hOsT": Host, "Date": Date, "accept": Accept, "Origin": Origin, "via": Via, "Cookie": Cookie, "Expect": Expect, "Upgrade": Upgrade,
		"Forwarded": Forwarded, "X-Real-IP": XForwarded, "Connection": Connection, "Keep-Alive": KeepAlive,
		"Traceparent": Traceparent, "X-Request-ID": XRequestID, "X-Micro-Error": XMicroError, "X-Micro-Mirror": XMicroMirror, "X-Authenticated-User": XAuthenticatedUser,
		"Content-Length": ContentLength, "HTTP2-Settings": HTTP2Settings, "X-Forwarded-For": XForwardedFor,
		"X-Request-Start": XRequestStart, "X-Micro-Release": XMicroRelease, "X-Forwarded-Host": XForwardedHost,
		"X-Micro-Instance": XMicroInstance, "Proxy-Connection": ProxyConnection, "Transfer-Encoding": TransferEncoding,
		"X-Forwarded-Proto": XForwardedProto, "Proxy-Authenticate": ProxyAuthenticate,
		"Proxy-Authorization": ProxyAuthorization, "X-Forwarded-Port": XForwarded, "X-Forwarded-Client-Cert": XForwarded,
		"X-Forwarded-Ssl": XForwarded, "X-Forwarded-Prefix": XForwarded, "X-Forwarded-Server": XForwarded,
		"X-Forwarded-A": XForwarded, "X-Forwarded-By": XForwarded, "X-Forwarded-Scheme": XForwarded, "X-Forwarded-": Other, "Accept-Encoding": Other, "Content-Type": Other,
	} {
		if got := NameOf([]byte(name)); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	head := []byte("GET /a HTTP/1.1\r\nHost: shop.micro.test\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\nAccept: */*\r\n\r\n")
	var r Request
	if n := testing.AllocsPerRun(100, func() {
		if err := r.Parse(head); err != nil {
			t.Fatal(err)
		}
		for i := range r.Fields() {
			r.Dropped(&r.Fields()[i])
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
