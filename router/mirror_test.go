package router

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

const mirroredHost = "www.example.com"

// mirrored is a front whose host leads to r1, with a share of its requests copied to r2.
func mirrored(t *testing.T, percent int, original, copies string) (*front, *Figures) {
	t.Helper()
	figures := NewFigures(0)
	f := newFront(t, Config{Mirrors: figures})
	f.world.app("shop", 1, 2)
	f.world.up("shop", 1, original)
	if copies != "" {
		f.world.up("shop", 2, copies)
	}
	s := &cloud.VirtualHost{Host: mirroredHost, Group: cloud.DefaultGroup, Exposure: cloud.ExposedPublic}
	f.world.put(s.With(cloud.Route{
		Path: "/", Targets: parseTargets(t, []string{"shop@r1"}), Mirror: &cloud.Mirror{To: ref("shop").Release(2), Percent: percent},
	}))
	f.swap()
	return f, figures
}

// copies waits until as many copies have come to an end, and returns what became of them.
func copies(t *testing.T, f *Figures, n uint64) MirrorCounts {
	t.Helper()
	var c MirrorCounts
	eventually(t, func() bool {
		if all := f.Mirrors(mirroredHost, "/"); len(all) == 1 {
			c = all[0]
		}
		return c.Answered+c.Failed+c.Dropped >= n
	})
	if got := c.Answered + c.Failed + c.Dropped; got != n {
		t.Errorf("%d copies, want %d", got, n)
	}
	return c
}

// TestMirror: a share of safe requests is copied as it is, and its answers reach nobody.
func TestMirror(t *testing.T) {
	original := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Micro-Mirror") != "" {
			t.Errorf("the original has X-Micro-Mirror")
		}
		fmt.Fprint(w, "r1")
	})
	var mu sync.Mutex
	var got []string
	f, figures := mirrored(t, 10, original, backend(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got = append(got, fmt.Sprintf("%s %s %s %v %s", r.Method, r.Host, r.RequestURI, r.Header["X-Micro-Mirror"], r.Header.Get("Cookie")))
		mu.Unlock()
		if strings.HasSuffix(r.RequestURI, "9") {
			w.WriteHeader(500)
		}
		fmt.Fprint(w, strings.Repeat("r2", 100_000))
	}))
	p := dial(t, f.public)
	for i := range 200 {
		method := []string{"GET", "HEAD"}[i%2]
		res, body := p.send(request(method, fmt.Sprintf("/a//b?n=%d", i), mirroredHost, "X-Micro-Mirror: forged", "Cookie: a=b")).answer(method)
		if res.StatusCode != 200 || method == "GET" && body != "r1" {
			t.Fatalf("answer: %d %.10s", res.StatusCode, body)
		}
	}
	c := copies(t, figures, 20)
	if c.Release != ref("shop").Release(2) || c.Answered != 20 || c.Original.Count != 20 || c.Copy.Count != 20 {
		t.Errorf("%d answered, %d and %d timed", c.Answered, c.Original.Count, c.Copy.Count)
	}
	nines := 0
	mu.Lock()
	defer mu.Unlock()
	for _, line := range got {
		method, rest, _ := strings.Cut(line, " ")
		if method != "GET" && method != "HEAD" || !strings.HasPrefix(rest, mirroredHost+" /a//b?n=") || !strings.HasSuffix(rest, " [1] a=b") {
			t.Errorf("copy: %s", line)
		}
		if strings.Contains(line, "9 [1]") {
			nines++
		}
	}
	if c.Differ != uint64(nines) {
		t.Errorf("%d copies were answered otherwise, counted %d", nines, c.Differ)
	}
	if all := figures.AllMirrors(); len(all) != 1 || all[0].Answered != 20 {
		t.Errorf("in all: %v", all)
	}
}

// TestMirrorSafeOnly: what may change something is never sent twice, nor what has a body.
func TestMirrorSafeOnly(t *testing.T) {
	var seen atomic.Int32
	f, figures := mirrored(t, 100, backend(t, func(http.ResponseWriter, *http.Request) {}), backend(t, func(_ http.ResponseWriter, r *http.Request) {
		if seen.Add(1); r.RequestURI != "/last" {
			t.Errorf("copied: %s %s", r.Method, r.RequestURI)
		}
	}))
	p := dial(t, f.public)
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		p.send(request(method, "/", mirroredHost, "Content-Length: 0")).answer(method)
	}
	p.send(request("GET", "/", mirroredHost, "Content-Length: 2") + "ab").answer("GET")
	p.send(request("GET", "/", mirroredHost, "Transfer-Encoding: chunked") + "0\r\n\r\n").answer("GET")
	p.send(get("/last", mirroredHost)).answer("GET")
	copies(t, figures, 1)
	if n := seen.Load(); n != 1 {
		t.Errorf("%d copies", n)
	}
}

// TestMirrorHarmsNobody: whatever is wrong with the mirror, users' requests are answered as without it.
func TestMirrorHarmsNobody(t *testing.T) {
	const n = 400
	original := backend(t, func(http.ResponseWriter, *http.Request) {})
	for _, c := range []struct {
		what   string
		mirror func(t *testing.T) string
		failed func(MirrorCounts) bool
	}{
		{"hangs", func(t *testing.T) string {
			return silent(t, func(net.Conn) {})
		}, func(c MirrorCounts) bool { return c.Dropped == n-maxMirroredRoute }},
		{"closes", func(t *testing.T) string {
			return silent(t, func(c net.Conn) { c.Close() })
		}, func(c MirrorCounts) bool { return c.Answered == 0 && c.Failed > 0 }},
		{"is not there", func(t *testing.T) string {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			return ln.Addr().String()
		}, func(c MirrorCounts) bool { return c.Answered == 0 && c.Failed > 0 }},
		{"has no instance", func(*testing.T) string { return "" }, func(c MirrorCounts) bool { return c.Answered == 0 && c.Failed > 0 }},
		{"never ends its head", func(t *testing.T) string {
			return silent(t, func(c net.Conn) {
				for line := []byte("X: " + strings.Repeat("y", 1000) + "\r\n"); ; {
					if _, err := c.Write(line); err != nil {
						return
					}
				}
			})
		}, func(c MirrorCounts) bool { return c.Answered == 0 }},
	} {
		t.Run(c.what, func(t *testing.T) {
			f, figures := mirrored(t, 100, original, c.mirror(t))
			p := dial(t, f.public)
			var took []time.Duration
			for range n {
				begun := time.Now()
				if res, _ := p.send(get("/", mirroredHost)).answer("GET"); res.StatusCode != 200 {
					t.Fatalf("answer: %d", res.StatusCode)
				}
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			// The mirrors take 10 s or for ever: who waited for one would have waited that long.
			if longest := took[n-1]; longest > 5*time.Second {
				t.Errorf("somebody waited %v", longest)
			}
			if left := n - maxMirroredRoute; c.what == "hangs" {
				if got := copies(t, figures, uint64(left)); !c.failed(got) {
					t.Errorf("%d dropped", got.Dropped)
				}
			} else if got := copies(t, figures, n); !c.failed(got) {
				t.Errorf("%d answered, %d failed, %d dropped", got.Answered, got.Failed, got.Dropped)
			}
		})
	}
}

// silent accepts connections, reads what comes and has do answer.
func silent(t *testing.T, do func(net.Conn)) string {
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
				buf := make([]byte, 4096)
				_, _ = c.Read(buf)
				do(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return ln.Addr().String()
}
