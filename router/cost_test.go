//go:build !race

// Under the race detector sync.Pool throws things away at random, so that everything allocates.

package router

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// fixed answers every request with the same bytes, allocating nothing.
func fixed(t testing.TB, answer string) string {
	return rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		out := []byte(answer)
		for {
			length := 0
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) > 16 && string(line[:16]) == "Content-Length: " {
					length, _ = strconv.Atoi(strings.TrimSpace(string(line[16:])))
				}
				if len(line) == 2 {
					break
				}
			}
			if _, err := r.Discard(length); err != nil {
				return
			}
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	})
}

// TestProxyingAllocatesNothing counts all of the process: client, front and backend.
func TestProxyingAllocatesNothing(t *testing.T) {
	f := newFront(t, Config{Recorder: NewFigures(DefaultWarmup)})
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
	f.shop(fixed(t, answer))
	for _, request := range []string{
		get("/a?b=c", shopHost, "Accept: */*", "User-Agent: test"),
		request("PUT", "/a", shopHost, "Content-Length: 5000") + strings.Repeat("x", 5000),
		request("POST", "/a", shopHost, "Content-Length: 10") + strings.Repeat("x", 10),
	} {
		p := dial(t, f.addr)
		out := []byte(request)
		in := make([]byte, len(answer))
		run := func(n int) {
			for range n {
				if _, err := p.Write(out); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(p.r, in); err != nil {
					t.Fatal(err)
				}
			}
		}
		run(500)
		const n = 2000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run(n)
		runtime.ReadMemStats(&after)
		// The watch and the runtime have their own, now and then; with PUT and POST the backend makes a string.
		each := float64(after.Mallocs-before.Mallocs) / n
		if most := 0.1; each > most {
			t.Errorf("%s: %.2f allocations a request", request[:4], each)
		}
	}
}

// BenchmarkProxy is a small request over one connection, client and backend included.
func BenchmarkProxy(b *testing.B) {
	f := newFront(b, Config{Recorder: NewFigures(DefaultWarmup)})
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
	f.shop(fixed(b, answer))
	p := dial(b, f.addr)
	_ = p.SetDeadline(time.Time{})
	out := []byte(get("/a?b=c", shopHost, "Accept: */*", "User-Agent: test"))
	in := make([]byte, len(answer))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Write(out); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(p.r, in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRequestHead writes a head for the upstream.
func BenchmarkRequestHead(b *testing.B) {
	f := newFront(b, Config{})
	c := &conn{session: &session{r: f.Router, origin: origin{client: []byte("127.0.0.1"), forwardedFor: []byte("for=127.0.0.1"), scheme: "http"}}}
	x := f.exchange(c)
	head := []byte(get("/products/42?ref=home", shopHost, "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Accept: text/html,application/xhtml+xml", "Accept-Language: en-GB", "Accept-Encoding: gzip, deflate", "Connection: keep-alive", "Cookie: session=0123456789abcdef"))
	b.ReportAllocs()
	for b.Loop() {
		if err := x.req.Parse(head); err != nil {
			b.Fatal(err)
		}
		x.writeRequest()
	}
}

// TestStickinessAllocatesNothing: neither a known client's instance nor a trusted proxy's client costs an allocation.
func TestStickinessAllocatesNothing(t *testing.T) {
	r := New(Config{PassKey: make([]byte, 32)})
	e := newEndpoint("i", ref("shop").Release(1), netip.AddrPort{})
	e.tag = tagOf(r.passKey, e)
	pool := &Pool{Endpoints: []*Endpoint{e}}
	c := &choice{r: r, from: &origin{}, endpoint: e, fields: given{}, route: &Route{shares: []share{{1, pool}}, turns: &turns{}, sticky: sticky{by: cloud.StickyCookie}}}
	c.readCookie()
	value, _, _ := strings.Cut(string(c.appendCookie(nil)), ";")
	x := &exchange{head: []byte("GET / HTTP/1.1\r\nHost: a\r\nCookie: " + value + "\r\nX-Forwarded-For: 192.0.2.7, 198.51.100.7\r\nX-Forwarded-Proto: https\r\n\r\n"), c: &conn{session: &session{r: r}}}
	if err := x.req.Parse(x.head); err != nil {
		t.Fatal(err)
	}
	x.choice = *c
	x.choice.fields = x
	if n := testing.AllocsPerRun(100, func() {
		x.seeThrough()
		x.endpoint = nil
		client, _ := x.client()
		if x.pool = x.route.held(client); !x.claimSticky(client) || x.newCookie {
			t.Fatal("the client is not known")
		}
		x.unclaim()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
