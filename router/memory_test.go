//go:build !race

package router

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"
)

// inUse returns the memory that is in use: heap and stacks.
func inUse() int64 {
	for range 3 {
		runtime.GC() // what is pooled survives one
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestMemoryFollowsWhatArrived: a body that is announced and does not come costs little more than an idle
// connection does.
func TestMemoryFollowsWhatArrived(t *testing.T) {
	const n = 400
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	for framing, most := range map[string]int64{
		"":                           20 << 10,
		"Content-Length: 1000":       28 << 10,
		"Content-Length: 32768":      28 << 10,
		"Content-Length: 10000000":   60 << 10, // with a connection to the app, and what the app has of it
		"Transfer-Encoding: chunked": 60 << 10,
	} {
		before := inUse()
		var all []net.Conn
		for range n {
			c, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
			if framing != "" {
				_, _ = io.WriteString(c, request("POST", "/", shopHost, framing)+"1")
			}
		}
		eventually(t, func() bool { return f.Stats().Connections == n })
		time.Sleep(200 * time.Millisecond) // until all have read what has come
		each := (inUse() - before) / n
		t.Logf("%q: %d bytes a connection", framing, each)
		if each > most {
			t.Errorf("%q: %d bytes a connection, at most %d are wanted", framing, each, most)
		}
		for _, c := range all {
			_ = c.Close()
		}
		eventually(t, func() bool { return f.Stats().Connections == 0 })
	}
}

// TestMemoryOfIdleTLS: a connection by TLS that waits holds no buffer of the router's, and a small stack. The bound includes
// the client's part of TLS, which is about 7 KiB.
func TestMemoryOfIdleTLS(t *testing.T) {
	const n = 400
	f := newFront(t, Config{})
	f.shop(backend(t, func(http.ResponseWriter, *http.Request) {}))
	addr := f.listen(Listener{Internal: true, Scheme: "https", Handshake: secured(t, "http/1.1")})
	for ask, most := range map[bool]int64{false: 22 << 10, true: 22 << 10} {
		before := inUse()
		var all []net.Conn
		for range n {
			c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: shopHost})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
			if ask {
				if res, _ := (&peer{t, c, bufio.NewReader(c)}).send(get("/", shopHost)).answer("GET"); res.StatusCode != 200 {
					t.Fatalf("answered %d", res.StatusCode)
				}
			}
		}
		eventually(t, func() bool { return f.Stats().Connections == n })
		time.Sleep(200 * time.Millisecond) // until all wait
		each := (inUse() - before) / n
		t.Logf("asked %t: %d bytes a connection", ask, each)
		if each > most {
			t.Errorf("asked %t: %d bytes a connection, at most %d are wanted", ask, each, most)
		}
		for _, c := range all {
			_ = c.Close()
		}
		eventually(t, func() bool { return f.Stats().Connections == 0 })
	}
}
