package router

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// holding is a router whose host www.example.com holds requests for a time.
func holding(t *testing.T, hold time.Duration) *front {
	f := newFront(t, Config{})
	f.world.app("shop", 1, 1)
	vhost := &cloud.VirtualHost{Host: "www.example.com", Group: cloud.DefaultGroup}
	f.world.put(vhost.With(cloud.Route{Path: "/", Limits: cloud.Limits{Hold: cloud.Duration(hold)}, Targets: parseTargets(t, []string{"shop"})}))
	f.swap()
	return f
}

// lotOf is where the requests of the host wait.
func lotOf(f *front) *lot {
	s, _ := f.Table().internal.lookup("www.example.com")
	return s.lot
}

// TestHold: requests wait while no instance is ready, and are answered once one is.
func TestHold(t *testing.T) {
	f := holding(t, 20*time.Second)
	var peers []*peer
	for i := range 20 {
		p := dial(t, f.addr)
		if i%2 == 0 {
			p.send(get(fmt.Sprint("/", i), "www.example.com"))
		} else {
			p.send(request("POST", fmt.Sprint("/", i), "www.example.com", "Content-Length: 5") + "hello")
		}
		peers = append(peers, p)
		eventually(t, func() bool { return lotOf(f).n.Load() == int32(i+1) })
	}
	// Tables come and go meanwhile.
	f.world.app("other", 1, 1)
	f.swap()
	if res, _ := dial(t, f.addr).send(get("/", shopHost)).answer("GET"); res.StatusCode != 503 {
		t.Errorf("a host that holds nothing answers %d", res.StatusCode)
	}
	f.seen.next(t)
	f.world.up("shop", 1, backend(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	}))
	f.swap()
	for i, p := range peers {
		method := [...]string{"GET", "POST"}[i%2]
		res, got := p.answer(method)
		if res.StatusCode != 200 || method == "POST" && got != "hello" {
			t.Errorf("%d: %d %q", i, res.StatusCode, got)
		}
	}
	nth := map[string]uint64{}
	for range peers {
		x := f.seen.next(t)
		if x.Held == 0 || x.Error != "" {
			t.Errorf("%s was held %v, %s", x.Target, x.Held, x.Error)
		}
		nth[string(x.Target)] = x.Nth
	}
	for i := range peers {
		if n := nth[fmt.Sprint("/", i)]; n != uint64(i+1) {
			t.Errorf("request %d went on as number %d", i+1, n)
		}
	}
	if l := lotOf(f); l.n.Load() != 0 || l.bytes != 0 || len(l.queue) != 0 {
		t.Errorf("left: %+v", l)
	}
}

// TestLotIsAQueue: the first alone may try, whoever leaves.
func TestLotIsAQueue(t *testing.T) {
	l := &lot{most: maxHeld, mostBytes: maxHeldBytes}
	isFirst := func(h *held) bool {
		select {
		case <-h.first:
			return true
		default:
			return false
		}
	}
	a, b, c := l.enter(1, false), l.enter(1, false), l.enter(1, false)
	if !isFirst(a) || isFirst(b) {
		t.Fatal("not the first one to come is the first")
	}
	l.leave(b) // its client has gone
	if isFirst(c) {
		t.Fatal("two are the first")
	}
	l.leave(a)
	if !isFirst(c) {
		t.Fatal("the next one may not try")
	}
	a = l.enter(1, true)
	if !isFirst(a) {
		t.Fatal("one that was the first before waits behind")
	}
	l.leave(a)
	l.leave(c)
	for range maxHeld {
		if l.enter(1, false) == nil {
			t.Fatal("refused too early")
		}
	}
	if l.enter(1, false) != nil {
		t.Error("too many are held")
	}
	full := lot{most: maxHeld, mostBytes: maxHeldBytes}
	if full.enter(maxHeldBytes-1, false) == nil || full.enter(2, false) != nil {
		t.Error("too many bytes are held")
	}
}

// TestHoldEnds: past its time a request gets 503 and is told that the limit is ours; one whose client has gone leaves.
func TestHoldEnds(t *testing.T) {
	f := holding(t, 400*time.Millisecond)
	begun := time.Now()
	res, got := dial(t, f.addr).send(get("/", "www.example.com")).answer("GET")
	if res.StatusCode != 503 || !strings.Contains(got, "within 400ms, which is as long as the router holds") || time.Since(begun) < 350*time.Millisecond {
		t.Errorf("%d %q after %v", res.StatusCode, got, time.Since(begun))
	}
	f = holding(t, time.Minute)
	p := dial(t, f.addr).send(get("/", "www.example.com"))
	eventually(t, func() bool { return lotOf(f).n.Load() == 1 })
	reset(p.Conn.(*net.TCPConn))
	eventually(t, func() bool { return lotOf(f).n.Load() == 0 })
	if x := f.seen.next(t); x.Status != 499 {
		t.Errorf("recorded as %d", x.Status)
	}
	// A shutdown waits for nobody who can't be answered.
	p = dial(t, f.addr).send(get("/", "www.example.com"))
	eventually(t, func() bool { return lotOf(f).n.Load() == 1 })
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if res, _ := p.answer("GET"); res.StatusCode != 503 {
		t.Errorf("%d at the shutdown", res.StatusCode)
	}
}

// TestHoldCrash: an instance that has died is in the table for a moment. Requests that meet it wait as well.
func TestHoldCrash(t *testing.T) {
	f := holding(t, 20*time.Second)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := ln.Addr().String()
	_ = ln.Close()
	id := f.world.up("shop", 1, dead)
	f.swap()
	var peers []*peer
	for range 5 {
		peers = append(peers, dial(t, f.addr).send(request("POST", "/", "www.example.com", "Content-Length: 2")+"hi"))
	}
	eventually(t, func() bool { return lotOf(f).n.Load() == 5 })
	f.world.down(id)
	f.swap()
	f.world.up("shop", 1, backend(t, func(w http.ResponseWriter, r *http.Request) {}))
	f.swap()
	for _, p := range peers {
		if res, got := p.answer("POST"); res.StatusCode != 200 {
			t.Errorf("%d %q", res.StatusCode, got)
		}
	}
	for range peers {
		if x := f.seen.next(t); x.Attempts > 60 {
			t.Errorf("%d attempts", x.Attempts)
		}
	}
}
