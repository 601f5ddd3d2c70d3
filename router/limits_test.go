package router

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// limited is a router whose host www.example.com has limits of its own.
func limited(t *testing.T, h http.HandlerFunc, cloudWide, route cloud.Limits) *front {
	f := newFront(t, Config{}, cloudWide)
	f.shop(backend(t, h))
	vhost := &cloud.VirtualHost{Host: "www.example.com", Group: cloud.DefaultGroup}
	f.world.put(vhost.With(cloud.Route{Path: "/", Limits: route, Targets: parseTargets(t, []string{"shop"})}))
	f.swap()
	return f
}

// TestRouteLimits: a route's own limit goes before the cloud's, and whoever meets it is told that it is ours.
func TestRouteLimits(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		time.Sleep(700 * time.Millisecond)
	}
	f := limited(t, slow, cloud.Limits{AnswerTimeout: cloud.Duration(200 * time.Millisecond), MaxBody: 10},
		cloud.Limits{AnswerTimeout: cloud.Duration(time.Minute), MaxBody: cloud.NoLimit})
	try := func(host, body string, want int, says string) {
		t.Helper()
		p := dial(t, f.addr).send(request("POST", "/", host, "Content-Length: 20") + body)
		if res, got := p.answer("POST"); res.StatusCode != want || !strings.Contains(got, says) {
			t.Errorf("%s: %d %q, want %d", host, res.StatusCode, got, want)
		}
	}
	body := strings.Repeat("x", 20)
	try(shopHost, body, 413, "at most 10 bytes")
	try("www.example.com", body, 200, "")
	if res, got := dial(t, f.addr).send(get("/", shopHost)).answer("GET"); res.StatusCode != 504 || !strings.Contains(got, "200ms, which is as long as the router waits") {
		t.Errorf("%d %q", res.StatusCode, got)
	}
	// A change holds from the next request on, on connections that are open too.
	p := dial(t, f.addr)
	p.send(get("/", "www.example.com")).answer("GET")
	f.world.put(&cloud.Settings{Domain: "micro.test"})
	f.swap()
	if res, _ := p.send(get("/", shopHost)).answer("GET"); res.StatusCode != 200 {
		t.Errorf("%d after the cloud's limit was taken back", res.StatusCode)
	}
}

// TestHalfClosedLimit: a client that has ended its sending side is waited for as long as its route says.
func TestHalfClosedLimit(t *testing.T) {
	ended := make(chan struct{})
	f := limited(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	}, cloud.Limits{}, cloud.Limits{HalfClosedTimeout: cloud.Duration(300 * time.Millisecond)})
	p := dial(t, f.addr).send(get("/", "www.example.com"))
	if err := p.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if res, got := p.answer("GET"); res.StatusCode != 408 || res.Header.Get("X-Micro-Error") != codeHalfClosed || !strings.Contains(got, "300ms") {
		t.Errorf("%d %q", res.StatusCode, got)
	}
	// Without the limit the answer comes, however late.
	other := dial(t, f.addr).send(get("/", shopHost))
	if err := other.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(2500*time.Millisecond, func() { close(ended) })
	if res, _ := other.answer("GET"); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
}
