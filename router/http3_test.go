package router

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h3"
)

// quic listens for HTTP/3.
func (f *front) quic(l Listener) (addr string) {
	f.t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		f.t.Fatal(err)
	}
	l.Scheme = "https"
	cfg := serverTLS(f.t, h3.Protocol)
	q := QUIC{Secret: []byte("secret"), TLS: func(func(*tls.ClientHelloInfo) bool, func(*tls.ClientHelloInfo, string)) *tls.Config { return cfg }}
	ended := make(chan error, 1)
	go func() { ended <- f.ServeHTTP3(context.Background(), socket, q, l) }()
	f.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = f.Shutdown(ctx)
		if err := <-ended; err != nil {
			f.t.Error(err)
		}
		_ = socket.Close()
	})
	return socket.LocalAddr().String()
}

// http3Client is a client of HTTP/3, to an address whatever the URL says. It counts its connections.
func http3Client(t testing.TB, addr string) (client *http.Client, conns func() []*quic.Conn) {
	t.Helper()
	var mu sync.Mutex
	var all []*quic.Conn
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		Dial: func(ctx context.Context, _ string, tlsCfg *tls.Config, cfg *quic.Config) (*quic.Conn, error) {
			c, err := quic.DialAddr(ctx, addr, tlsCfg, cfg)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, c)
			}
			return c, err
		},
	}
	t.Cleanup(func() { _ = transport.Close() })
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}, func() []*quic.Conn {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// TestHTTP3: requests of HTTP/3 meet what requests of HTTP/1 meet.
func TestHTTP3(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{MaxBody: 3 << 20})
	client, _ := http3Client(t, f.quic(Listener{Internal: true}))
	f.meetsAll(client, "https", 3)
}

// TestHTTP3Streams: streams of a connection don't wait for each other, pieces pass as they come, both ways, and one that
// is cancelled ends its request to the app.
func TestHTTP3Streams(t *testing.T) {
	f := newFront(t, Config{})
	client, conns := http3Client(t, f.quic(Listener{Internal: true}))
	f.talks(client, "https")
	if n := len(conns()); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestHTTP3Shutdown: a shutdown says GOAWAY, finishes the streams under way, and loses none.
func TestHTTP3Shutdown(t *testing.T) {
	f := newFront(t, Config{})
	client, _ := http3Client(t, f.quic(Listener{Internal: true}))
	f.endsGracefully(client, "https")
}

// TestHTTP3Succession: whoever listens on a socket next gets the connections that come while the one before is shut down.
// None is refused.
func TestHTTP3Succession(t *testing.T) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	app := backend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "whole") })
	cfg := serverTLS(t, h3.Protocol)
	q := QUIC{Secret: []byte("secret"), TLS: func(func(*tls.ClientHelloInfo) bool, func(*tls.ClientHelloInfo, string)) *tls.Config { return cfg }}
	serve := func() (*front, chan error) {
		f := newFront(t, Config{})
		f.shop(app)
		ended := make(chan error, 1)
		go func() {
			ended <- f.ServeHTTP3(context.Background(), socket, q, Listener{Internal: true, Scheme: "https"})
		}()
		return f, ended
	}
	f, ended := serve()
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var asked atomic.Int64
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				client, _ := http3Client(t, socket.LocalAddr().String())
				res, err := client.Get("https://" + shopHost + "/")
				if err != nil {
					t.Error(err)
					return
				}
				_ = res.Body.Close()
				_ = client.Transport.(*http3.Transport).Close()
				asked.Add(1)
			}
		})
	}
	for range 3 {
		before := asked.Load()
		eventually(t, func() bool { return asked.Load() > before+20 })
		if err := f.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		f, ended = serve()
	}
	before := asked.Load()
	eventually(t, func() bool { return asked.Load() > before+20 })
	cancel()
	clients.Wait()
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestHTTP3Fields: the app learns what it learns from clients of TLS, and these learn where there is HTTP/3.
func TestHTTP3Fields(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", strings.Join([]string{r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-Host"), r.Header.Get("X-Forwarded-For"), r.Header.Get("Te"), r.Header.Get("Transfer-Encoding"), strconv.FormatInt(r.ContentLength, 10)}, " "))
	}))
	udp := f.quic(Listener{Internal: true})
	client, _ := http3Client(t, udp)
	port, _ := strconv.Atoi(udp[strings.LastIndexByte(udp, ':')+1:])
	handshake := secured(t, "h2", "http/1.1")
	tcp := f.listen(Listener{Internal: true, Scheme: "https", HTTP3: uint16(port), Handshake: func(ctx context.Context, c net.Conn, internal bool) (net.Conn, string, error) {
		nc, protocol, err := handshake(ctx, c, internal)
		return unverified{nc}, protocol, err
	}})
	for _, c := range []struct {
		client *http.Client
		proto  int
	}{{client, 3}, {&http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, tcp)
		}}}, 2}} {
		r, _ := http.NewRequest("GET", "https://shop.micro.test/", nil)
		r.Header.Set("X-Forwarded-For", "203.0.113.9") // nobody's word
		res, err := c.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := res.Header.Get("X-Seen"); got != "https shop.micro.test 127.0.0.1   0" || res.ProtoMajor != c.proto {
			t.Errorf("by HTTP/%d: %s %q", c.proto, res.Proto, got)
		}
		if got := res.Header.Get("Alt-Svc"); (got == "h3=\":"+strconv.Itoa(port)+"\"; ma=3600") != (c.proto == 2) {
			t.Errorf("by HTTP/%d: Alt-Svc %q", c.proto, got)
		}
	}
	if res, _ := dial(t, f.addr).send(get("/", shopHost)).answer("GET"); res.Header.Get("Alt-Svc") != "" {
		t.Errorf("without TLS: %v", res.Header)
	}
}

// unverified is a connection by TLS whose client nobody vouches for.
type unverified struct{ net.Conn }

func (unverified) ClientsID() string { return "" }

// TestHTTP3Misdirected: on a connection for one host another one that is not there is answered 421.
func TestHTTP3Misdirected(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(http.ResponseWriter, *http.Request) {}))
	client, _ := http3Client(t, f.quic(Listener{Internal: true}))
	for host, want := range map[string]int{shopHost: 200, "nobody.micro.test": 421} {
		r, _ := http.NewRequest("GET", "https://"+shopHost+"/", nil)
		r.Host = host
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, res.StatusCode, want)
		}
	}
	if res, err := client.Do(&http.Request{Method: "CONNECT", URL: &url.URL{Scheme: "https", Host: shopHost}, Host: shopHost}); err != nil {
		t.Error(err)
	} else if _ = res.Body.Close(); res.StatusCode != 405 {
		t.Errorf("CONNECT: %d", res.StatusCode)
	}
}

// TestHTTP3GivenUp: a client that gives up its requests at once, over and over, loses its connection, and others do not.
func TestHTTP3GivenUp(t *testing.T) {
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
		}
	}))
	addr := f.quic(Listener{Internal: true})
	client, conns := http3Client(t, addr)
	if res, err := client.Get("https://" + shopHost + "/"); err != nil {
		t.Fatal(err)
	} else {
		_ = res.Body.Close()
	}
	deadline := time.Now().Add(time.Minute)
	for gone := false; !gone; {
		if time.Now().After(deadline) {
			t.Fatal("the connection lives on")
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				defer cancel()
				r, _ := http.NewRequestWithContext(ctx, "GET", "https://"+shopHost+"/hang", nil)
				if res, err := client.Do(r); err == nil {
					_ = res.Body.Close()
				}
			})
		}
		all.Wait()
		c := conns()[0]
		select {
		case <-c.Context().Done():
			failed, ok := errors.AsType[*quic.ApplicationError](context.Cause(c.Context()))
			if gone = true; !ok || failed.ErrorCode != quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad) {
				t.Errorf("it ended: %v", context.Cause(c.Context()))
			}
		default:
		}
	}
	other, _ := http3Client(t, addr)
	res, err := other.Get("https://" + shopHost + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	eventually(t, func() bool { return f.Stats().InFlight[ref("shop").Release(1)] == 0 })
}

// TestHTTP3Crowd: connections count as all others do: the one that has waited longest gives way, and one with a request
// does not.
func TestHTTP3Crowd(t *testing.T) {
	f := newFront(t, Config{Limits: Connections{Descriptors: 3, Client: 1000}})
	release := make(chan struct{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			<-release
		}
		_, _ = io.WriteString(w, "whole")
	}))
	addr := f.quic(Listener{Internal: true})
	busy, _ := http3Client(t, addr)
	answered := make(chan string, 1)
	go func() {
		res, err := busy.Get("https://" + shopHost + "/wait")
		if err != nil {
			answered <- err.Error()
			return
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		answered <- string(b)
	}()
	eventually(t, func() bool { return f.Stats().InFlight[ref("shop").Release(1)] == 1 })
	var first *quic.Conn
	for range 4 {
		client, conns := http3Client(t, addr)
		res, err := client.Get("https://" + shopHost + "/")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if first == nil {
			first = conns()[0]
		}
	}
	select {
	case <-first.Context().Done():
	case <-time.After(time.Minute):
		t.Error("the first connection lives on")
	}
	close(release)
	if got := <-answered; got != "whole" {
		t.Errorf("the busy one got %q", got)
	}
}

// TestHTTP3Proxies: a proxy that has to speak the PROXY protocol cannot do so by UDP, and is refused.
func TestHTTP3Proxies(t *testing.T) {
	f := newFront(t, Config{ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	f.shop(backend(t, func(http.ResponseWriter, *http.Request) {}))
	client, _ := http3Client(t, f.quic(Listener{Internal: true}))
	if res, err := client.Get("https://" + shopHost + "/"); err == nil {
		_ = res.Body.Close()
		t.Errorf("answered %d", res.StatusCode)
	}
}

// TestHTTP3WebSocket: a WebSocket on a stream of HTTP/3 (RFC 9220) is what it is on one of HTTP/2.
func TestHTTP3WebSocket(t *testing.T) {
	f := newFront(t, Config{})
	conn, err := quic.DialAddr(t.Context(), f.quic(Listener{Internal: true}), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{h3.Protocol}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cc := new(http3.Transport).NewClientConn(conn)
	defer func() { _ = cc.CloseWithError(0, "") }()
	f.speaksWebSocket(func(protocol string) (*http.Response, io.Writer) {
		s, err := cc.OpenRequestStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SendRequestHeader(&http.Request{
			Method: http.MethodConnect, Proto: protocol, URL: &url.URL{Scheme: "https", Host: shopHost, Path: "/"}, Host: shopHost,
			Header: http.Header{"Sec-Websocket-Version": {"13"}},
		}); err != nil {
			t.Fatal(err)
		}
		res, err := s.ReadResponse()
		if err != nil {
			t.Fatal(err)
		}
		return res, s
	})
}
