package router

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestIdlestGoesFirst: one connection more than there may be costs the one that has waited longest for a request,
// and no request that is under way.
func TestIdlestGoesFirst(t *testing.T) {
	const most = 90
	f := newFront(t, Config{Limits: Connections{Descriptors: 100}})
	release := make(chan struct{})
	end := sync.OnceFunc(func() { close(release) })
	defer end()
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			<-release
		}
		fmt.Fprint(w, "ok")
	}))
	var idle []*peer
	busy := dial(t, f.addr).send(get("/busy", shopHost))
	half := dial(t, f.addr).send("GET / HTTP/1.1\r\n") // as slow clients do who mean harm
	eventually(t, func() bool { return f.Stats().Connections == 2 && f.Stats().InFlight[ref("shop").Release(1)] == 1 })
	for len(idle) < most-2 {
		p := dial(t, f.addr)
		p.send(get("/", shopHost)).answer("GET")
		idle = append(idle, p)
		time.Sleep(2 * time.Millisecond)
	}
	// The first is used again, so that the second is idle for longest by then, but for the half request.
	idle[0].send(get("/", shopHost)).answer("GET")
	for i, gone := range []*peer{half, idle[1], idle[2]} {
		p := dial(t, f.addr)
		if _, got := p.send(get("/", shopHost)).answer("GET"); got != "ok" {
			t.Errorf("connection %d too many got %q", i, got)
		}
		idle = append(idle, p)
		if !gone.closed() {
			t.Errorf("connection %d too many: another one is closed", i)
		}
	}
	for _, p := range []*peer{idle[0], idle[3], idle[most-3]} {
		if _, got := p.send(get("/", shopHost)).answer("GET"); got != "ok" {
			t.Errorf("one that is not the idlest got %q", got)
		}
	}
	end()
	if _, got := busy.answer("GET"); got != "ok" {
		t.Errorf("a request under way got %q", got)
	}
}

// TestNoRoom: where every connection has a request the next one is refused; none of the shortage is the app's fault.
func TestNoRoom(t *testing.T) {
	f := newFront(t, Config{Limits: Connections{Descriptors: 10}})
	started, release := make(chan struct{}, 10), make(chan struct{})
	end := sync.OnceFunc(func() { close(release) })
	defer end()
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		<-release
	}))
	var busy []*peer
	for range 5 {
		busy = append(busy, dial(t, f.addr).send(get("/", shopHost)))
		<-started
	}
	// There are 10 descriptors in use: neither a sixth client nor a sixth connection to the app finds one.
	if p := dial(t, f.addr); !p.closed() {
		t.Error("a connection too many is served")
	}
	if n := f.Stats().Refused; n != 0 {
		t.Errorf("%d refused by number: it was the descriptors", n)
	}
	f.descriptors.give(1)
	p := dial(t, f.addr)
	res, _ := p.send(get("/", shopHost)).answer("GET")
	if res.StatusCode != 503 || res.Header.Get("X-Micro-Error") != "overloaded" || res.Header.Get("Retry-After") == "" {
		t.Errorf("without a descriptor for the app: %d %v", res.StatusCode, res.Header)
	}
	if x := f.seen.next(t); x.failed() || x.clientGone() {
		t.Errorf("a shortage of the router's counts as %+v", x)
	}
	_ = p.Close()
	eventually(t, func() bool { return f.descriptors.used.Load() == 9 })
	f.descriptors.used.Add(1)
	end()
	for _, p := range busy {
		if res, _ := p.answer("GET"); res.StatusCode != 200 {
			t.Errorf("a request under way: %d", res.StatusCode)
		}
	}
	// Idle connections to apps give way to a client too.
	eventually(t, func() bool { return f.descriptors.used.Load() == 10 })
	if res, _ := dial(t, f.addr).send(get("/", shopHost)).answer("GET"); res.StatusCode != 200 {
		t.Errorf("afterwards: %d", res.StatusCode)
	}
}

// TestOwnShortage: a shortage of the machine's says nothing about the app that could not be reached for it.
func TestOwnShortage(t *testing.T) {
	f := newFront(t, Config{})
	app := backend(t, func(w http.ResponseWriter, r *http.Request) {})
	f.world.app("shop", 1, 1)
	f.world.up("shop", 1, app)
	table := f.compiler.Compile(nil, f.world.view)
	e, _ := table.endpoints.lookup("shop-r1-1")
	shortage := make(chan error, 1)
	e.dial = func(ctx context.Context) (net.Conn, error) {
		select {
		case err := <-shortage:
			return nil, err
		default:
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", app)
	}
	f.Swap(table)
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		e.idle.closeAll()
		e.idle.closed = false
		shortage <- &net.OpError{Op: "dial", Err: errno}
		res, _ := dial(t, f.addr).send(get("/", shopHost)).answer("GET")
		if x := f.seen.next(t); res.StatusCode != 503 && res.StatusCode != 200 || x.failed() || x.Status == 503 && x.Error != "overloaded" {
			t.Errorf("%v: %d, recorded as %+v", errno, res.StatusCode, x)
		}
		if e.ejected(f.now()) || e.failures.Load() != 0 {
			t.Errorf("%v: counts against the instance", errno)
		}
		select {
		case <-shortage:
			t.Errorf("%v: never met", errno)
		default:
		}
		if res, _ := dial(t, f.addr).send(get("/", shopHost)).answer("GET"); res.StatusCode != 200 {
			t.Errorf("%v: afterwards %d", errno, res.StatusCode)
		}
		f.seen.next(t)
	}
}

// still is a speaker that waits, or not.
type still struct {
	since int64
	ended bool
}

func (*still) serve()             {}
func (s *still) idleSince() int64 { return s.since }
func (s *still) endWaiting() bool { s.ended = true; return true }
func (*still) endIdle()           {}
func (*still) kill()              {}

// TestCrowds: one client, or one group's containers, get a part of the connections and no more.
func TestCrowds(t *testing.T) {
	f := func(peers string, busy, wantEnded, wantAdded bool) {
		t.Helper()
		s := conns{limits: connectionLimits{all: 100, client: 3, group: 4, groupOf: func(a netip.Addr) string {
			if a.Is4() && a.As4()[0] == 10 {
				return "shop"
			}
			return ""
		}}}
		add := func(peer string, since int64) (*still, bool) {
			o := origin{peer: netip.AddrPortFrom(netip.MustParseAddr(peer), 1)}
			o.loopback = o.peer.Addr().IsLoopback()
			c := &session{origin: o}
			ok := s.add(c)
			sp := &still{since: since}
			if ok {
				s.speaks(c, sp)
			}
			return sp, ok
		}
		var first, last string
		var n int
		if _, err := fmt.Sscanf(peers, "%d %s %s", &n, &first, &last); err != nil {
			t.Fatal(err)
		}
		var all []*still
		addr := netip.MustParseAddr(first)
		for i := range n {
			since := int64(n - i) // the last one has waited longest
			if busy {
				since = 0
			}
			sp, ok := add(addr.String(), since)
			if !ok {
				t.Fatalf("%s: connection %d is refused", peers, i)
			}
			all = append(all, sp)
			if first[0] == '1' && last != first {
				addr = addr.Next()
			}
		}
		_, ok := add(last, 1)
		if ended := all[n-1].ended; ended != wantEnded || ok != wantAdded {
			t.Errorf("%s: the idlest is ended %v, the new one is taken %v", peers, ended, ok)
		}
		for _, sp := range all[:n-1] {
			if sp.ended {
				t.Errorf("%s: one that is not the idlest is ended", peers)
			}
		}
	}
	f("2 192.0.2.1 192.0.2.1", false, false, true)
	f("3 192.0.2.1 192.0.2.1", false, true, true)
	f("3 192.0.2.1 192.0.2.1", true, false, false)
	f("3 192.0.2.1 192.0.2.9", true, false, true)
	f("3 2001:db8::1 2001:db8::ffff", false, true, true)
	f("3 2001:db8::1 2001:db8:0:1::1", false, false, true)
	f("50 127.0.0.1 127.0.0.1", false, false, true)
	f("3 10.0.0.1 10.0.0.9", false, false, true)
	f("4 10.0.0.1 10.0.0.9", false, true, true)
	f("4 10.0.0.1 10.0.0.9", true, false, false)
	f("4 10.0.0.1 192.0.2.1", true, false, true)
}

// TestEvictionUnderLoad: requests go on while idle connections make room all the time, and every descriptor is
// given back.
func TestEvictionUnderLoad(t *testing.T) {
	f := newFront(t, Config{Limits: Connections{Descriptors: 40}})
	f.shop(rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			if _, _, err := readRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}))
	for i := range 300 {
		p := dial(t, f.addr)
		if res, got := p.send(get("/", shopHost)).answer("GET"); res.StatusCode != 200 || got != "ok" {
			t.Fatalf("request %d: %d %q", i, res.StatusCode, got)
		}
		if used := f.descriptors.used.Load(); used > 44 {
			t.Fatalf("%d descriptors are in use", used)
		}
	}
}
