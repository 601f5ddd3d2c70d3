package h1

import (
	"bufio"
	"net/http"
	"slices"
	"strings"
	"testing"
)

var seeds = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /a?b HTTP/1.1\r\nHost: a:80\r\nContent-Length: 3\r\n\r\n",
	"GET http://b/c HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\nX: y\r\n\r\n",
	"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
	"OPTIONS * HTTP/1.0\r\nHost: [::1]:1\r\nConnection: keep-alive\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nA_b: c\r\nA-b: d\r\n\r\n",
}

// FuzzRequest holds heads against net/http: what both accept they read the same.
func FuzzRequest(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		n, err := End([]byte(in), 0)
		if err != nil || n == 0 {
			return
		}
		in = in[:n]
		var r Request
		if r.Parse([]byte(in)) != nil {
			return
		}
		std, err := http.ReadRequest(bufio.NewReader(strings.NewReader(in)))
		if err != nil {
			return
		}
		if std.Method != string(r.Method) || std.Host != string(r.Host) {
			t.Fatalf("%q: %s at %s, net/http %s at %s", in, r.Method, r.Host, std.Method, std.Host)
		}
		if std.ProtoMinor != int(r.Minor) || std.Close && !r.Close {
			t.Fatalf("%q: 1.%d close %v, net/http 1.%d close %v", in, r.Minor, r.Close, std.ProtoMinor, std.Close)
		}
		if chunked := slices.Equal(std.TransferEncoding, []string{"chunked"}); chunked != r.Chunked {
			t.Fatalf("%q: chunked %v, net/http %v", in, r.Chunked, std.TransferEncoding)
		}
		if !r.Chunked && max(r.Length, 0) != std.ContentLength {
			t.Fatalf("%q: length %d, net/http %d", in, r.Length, std.ContentLength)
		}
		target := std.URL.RequestURI()
		if uri := std.RequestURI; uri[0] == '/' || uri == "*" {
			target = uri
		} else if i := strings.Index(uri, "://"); i > 0 {
			if target = strings.TrimLeft(uri[i+3:], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:[]"); target == "" {
				if target = "/"; std.Method == "OPTIONS" {
					target = "*"
				}
			}
		}
		if target != string(r.Target) {
			t.Fatalf("%q: target %q, net/http %q", in, r.Target, target)
		}
		fields(t, in, &r.Head, std.Header)
	})
}

// FuzzResponse does the same for responses.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HTTP/1.0 404\r\nX: y\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		n, err := End([]byte(in), 0)
		if err != nil || n == 0 {
			return
		}
		in = in[:n]
		var r Response
		if r.Parse([]byte(in)) != nil {
			return
		}
		std, err := http.ReadResponse(bufio.NewReader(strings.NewReader(in)), nil)
		if err != nil {
			return
		}
		if std.StatusCode != r.Status || std.ProtoMinor != int(r.Minor) {
			t.Fatalf("%q: %d, net/http %d", in, r.Status, std.StatusCode)
		}
		if r.Bodyless(false) {
			return
		}
		if chunked := slices.Equal(std.TransferEncoding, []string{"chunked"}); chunked != r.Chunked {
			t.Fatalf("%q: chunked %v, net/http %v", in, r.Chunked, std.TransferEncoding)
		}
		if !r.Chunked && r.Length != std.ContentLength {
			t.Fatalf("%q: length %d, net/http %d", in, r.Length, std.ContentLength)
		}
		fields(t, in, &r.Head, std.Header)
	})
}

func fields(t *testing.T, in string, h *Head, std http.Header) {
	t.Helper()
	for name, values := range std {
		if name == "Trailer" {
			continue
		}
		var got []string
		for i := range h.Fields() {
			if f := &h.Fields()[i]; strings.EqualFold(string(h.NameOf(f)), name) {
				got = append(got, string(h.Value(f)))
			}
		}
		if !slices.Equal(got, values) {
			t.Fatalf("%q: %s is %q, net/http %q", in, name, got, values)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	head := []byte("GET /products/42?ref=home HTTP/1.1\r\nHost: shop.micro.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef\r\nCache-Control: no-cache\r\n\r\n")
	var r Request
	b.ReportAllocs()
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		if _, err := End(head, 0); err != nil {
			b.Fatal(err)
		}
		if err := r.Parse(head); err != nil {
			b.Fatal(err)
		}
	}
}
