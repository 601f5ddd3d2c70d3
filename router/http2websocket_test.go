package router

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestHTTP2WebSocket: a WebSocket on a stream of HTTP/2 (RFC 8441) passes frames both ways beside other streams, is told
// that its instance goes, and ends whole.
func TestHTTP2WebSocket(t *testing.T) {
	f, _ := multi(t)
	addr := f.listen(Listener{Internal: true, Handshake: knowing})
	transport := &http2.Transport{AllowHTTP: true}
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	cc, err := transport.NewClientConn(nc)
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	f.speaksWebSocket(func(protocol string) (*http.Response, io.Writer) {
		pr, pw := io.Pipe()
		q := &http.Request{
			Method: http.MethodConnect, URL: &url.URL{Scheme: "http", Host: shopHost, Path: "/"}, Host: shopHost, Body: pr, ContentLength: -1,
			Header: http.Header{":protocol": {protocol}, "Sec-Websocket-Version": {"13"}},
		}
		res, err := cc.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		return res, pw
	})
}

// speaksWebSocket checks a WebSocket on a stream of a connection. open asks for a protocol on a stream of its own, and returns
// the answer and what sends on the stream.
func (f *front) speaksWebSocket(open func(protocol string) (*http.Response, io.Writer)) {
	t := f.t
	t.Helper()
	f.world.app("shop", 1, 1)
	id := f.world.up("shop", 1, webSocketApp(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			first, payload, err := readFrame(r, true)
			if err != nil {
				return
			}
			_, _ = c.Write(frame(first, payload, false))
			if first == 0x88 {
				return
			}
		}
	}))
	f.swap()
	if res, _ := open("chat"); res.StatusCode != 501 {
		t.Errorf("another protocol: %d", res.StatusCode)
	}
	res, out := open("websocket")
	if res.StatusCode != 200 || res.Header.Get("Upgrade") != "" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	in := bufio.NewReader(res.Body)
	for _, n := range []int{3, 200, 700_000} {
		text := strings.Repeat("x", n)
		if _, err := out.Write(frame(0x81, text, true)); err != nil {
			t.Fatal(err)
		}
		if first, got, err := readFrame(in, false); first != 0x81 || got != text || err != nil {
			t.Fatalf("%d bytes: %x, %d came back, %v", n, first, len(got), err)
		}
	}
	if f.Stats().InFlight[ref("shop").Release(1)] != 1 {
		t.Error("it does not count as a request under way")
	}
	f.world.down(id)
	f.swap()
	ended := make(chan error, 1)
	go func() { ended <- f.Drain(t.Context(), id) }()
	first, payload, err := readFrame(in, false)
	if err != nil || first != 0x88 || binary.BigEndian.Uint16([]byte(payload)) != 1001 {
		t.Fatalf("got %x %q, %v", first, payload, err)
	}
	_, _ = out.Write(frame(0x88, payload, true))
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Errorf("it ends with %q, %v", rest, err)
	}
	if x := f.seen.next(t); x.Status != 501 {
		t.Errorf("recorded %+v", x)
	}
	if x := f.seen.next(t); !x.Upgraded {
		t.Errorf("recorded %+v", x)
	}
}

// TestBrowserWebSocket: a page in a real Chromium opens a WebSocket and an EventSource on its connection of HTTP/2.
func TestBrowserWebSocket(t *testing.T) {
	f := newFront(t, Config{})
	var protocols sync.Map // that the browser has chosen
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			_, _ = io.WriteString(w, `<p id=a></p><p id=b></p><img id=c src="/picture"><script>
				// The browser shows the page when it is loaded. A socket does not count, so the picture counts until all is said.
				const say = (p, text) => { p.textContent = text; if (a.textContent && b.textContent) c.src = "data:," }
				const ws = new WebSocket("wss://" + location.host + "/ws")
				ws.onopen = () => ws.send("hello")
				ws.onmessage = e => say(a, "socket: " + e.data)
				const es = new EventSource("/events")
				es.onmessage = e => { say(b, "event: " + e.data); es.close() }
			</script>`)
		case "/picture":
			select {
			case <-r.Context().Done():
			case <-time.After(time.Minute):
			}
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: tick\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/ws":
			sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, _ = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
			_, payload, err := readFrame(rw, true)
			if err != nil {
				return
			}
			_, _ = c.Write(frame(0x81, payload+" to you", false))
			_, _, _ = readFrame(rw, true)
		}
	}))
	// A WebSocket that did not use the page's connection would come by HTTP/1.1.
	handshake := secured(t, Protocols()...)
	_, port, err := net.SplitHostPort(f.listen(Listener{Internal: true, Scheme: "https", Handshake: func(ctx context.Context, c net.Conn, internal bool) (net.Conn, string, error) {
		to, protocol, err := handshake(ctx, c, internal)
		if err == nil {
			protocols.Store(protocol, true)
		}
		return to, protocol, err
	}}))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors",
		"--user-data-dir="+t.TempDir(), "--host-resolver-rules=MAP * 127.0.0.1:"+port, "--dump-dom", "https://"+shopHost+"/").Output()
	for _, want := range []string{"socket: hello to you", "event: tick"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in %s (%v)", want, out, err)
		}
	}
	protocols.Range(func(protocol, _ any) bool {
		if protocol != protocolHTTP2 {
			t.Errorf("the browser came by %q", protocol)
		}
		return true
	})
}
