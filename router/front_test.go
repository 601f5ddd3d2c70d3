package router

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// front is a router that runs, with what it was told about.
type front struct {
	*Router
	t        testing.TB
	addr     string // internal listener
	public   string
	world    *world
	compiler Compiler
	seen     *seen
}

// seen remembers exchanges.
type seen struct {
	mu  sync.Mutex
	all []Exchange
}

func (s *seen) Record(x *Exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := *x
	c.RequestID, c.Method, c.Host, c.Target = clone(x.RequestID), clone(x.Method), clone(x.Host), clone(x.Target)
	s.all = append(s.all, c)
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

// next waits for the next exchange that nobody has asked for yet: one is recorded after it was answered.
func (s *seen) next(t testing.TB) Exchange {
	t.Helper()
	var x Exchange
	eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.all) == 0 {
			return false
		}
		x = s.all[0]
		s.all = s.all[1:]
		return true
	})
	return x
}

func newFront(t testing.TB, cfg Config, set ...cloud.Limits) *front {
	t.Helper()
	f := &front{t: t, world: newWorld(), seen: &seen{}}
	if cfg.Recorder == nil {
		cfg.Recorder = f.seen
	}
	f.Router = New(cfg)
	for _, l := range set {
		f.world.put(&cloud.Settings{Domain: "micro.test", Limits: l})
		f.swap()
	}
	f.addr = f.listen(Listener{Internal: true})
	f.public = f.listen(Listener{})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = f.Shutdown(ctx) // what a test left open is cut
		eventually(t, func() bool { return f.descriptors.used.Load() == 0 })
	})
	return f
}

func (f *front) listen(l Listener) string {
	f.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	return f.serve(ln, l)
}

func (f *front) serve(ln net.Listener, l Listener) string {
	ended := make(chan error, 1)
	go func() { ended <- f.Serve(context.Background(), ln, l) }()
	f.t.Cleanup(func() {
		_ = ln.Close()
		<-ended
	})
	return ln.Addr().String()
}

// swap puts the world's view in force.
func (f *front) swap() {
	f.Swap(f.compiler.Compile(f.Table(), f.world.view))
}

// shop makes an app "shop" with one release and instances at the addresses.
func (f *front) shop(addrs ...string) {
	f.world.app("shop", 1, 1)
	for _, a := range addrs {
		f.world.up("shop", 1, a)
	}
	f.swap()
}

// backend runs a server of the standard library.
func backend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String()
}

// rawBackend runs a server that does with each connection what it is told.
func rawBackend(t testing.TB, h func(*net.TCPConn, *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				h(c.(*net.TCPConn), bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return ln.Addr().String()
}

// readRequest reads a request with net/http, body included.
func readRequest(r *bufio.Reader) (*http.Request, []byte, error) {
	q, err := http.ReadRequest(r)
	if err != nil {
		return nil, nil, err
	}
	b, err := io.ReadAll(q.Body)
	return q, b, err
}

// peer is a client that says exactly what it is told.
type peer struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &peer{t, c, bufio.NewReader(c)}
}

func (p *peer) send(s string) *peer {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, s); err != nil {
		p.t.Fatalf("send: %v", err)
	}
	return p
}

// answer reads one response, body included. method is the request's.
func (p *peer) answer(method string) (*http.Response, string) {
	p.t.Helper()
	res, err := http.ReadResponse(p.r, &http.Request{Method: method})
	if err != nil {
		p.t.Fatalf("read response: %v", err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatalf("read body: %v (after %d bytes)", err, len(b))
	}
	return res, string(b)
}

// closed tells that nothing more comes.
func (p *peer) closed() bool {
	_, err := p.r.ReadByte()
	return errors.Is(err, io.EOF) || err != nil && strings.Contains(err.Error(), "reset")
}

func get(path, host string, fields ...string) string {
	return request("GET", path, host, fields...)
}

func request(method, path, host string, fields ...string) string {
	s := method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\n"
	for _, f := range fields {
		s += f + "\r\n"
	}
	return s + "\r\n"
}

const shopHost = "shop.micro.test"
