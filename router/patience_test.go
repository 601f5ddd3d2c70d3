package router

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// TestDrippingBody: a body that comes a byte at a time ends after the time that there is for all of it, unless
// the app has begun its answer; one that comes at 100 bytes a second may take as long as it likes.
func TestDrippingBody(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{BodyTimeout: cloud.Duration(3 * time.Second)})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/talk" {
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.(http.Flusher).Flush()
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}))
	drip := func(p *peer, chunked bool, size, pieces int) {
		piece, end := strings.Repeat("x", size), ""
		if chunked {
			piece, end = fmt.Sprintf("%x\r\n%s\r\n", size, piece), "0\r\n\r\n"
		}
		for range pieces {
			time.Sleep(100 * time.Millisecond)
			if _, err := io.WriteString(p, piece); err != nil {
				return
			}
		}
		_, _ = io.WriteString(p, end)
	}
	var all sync.WaitGroup
	for _, framing := range []string{"Content-Length: 1000", "Content-Length: 100000", "Transfer-Encoding: chunked"} {
		all.Go(func() {
			p := dial(t, f.addr).send(request("POST", "/", shopHost, framing))
			go drip(p, strings.HasPrefix(framing, "T"), 1, 100)
			begun := time.Now()
			res, err := http.ReadResponse(p.r, nil)
			if err != nil {
				t.Errorf("%s: %v", framing, err)
				return
			}
			body, _ := io.ReadAll(res.Body)
			if took := time.Since(begun); res.StatusCode != 408 || !strings.Contains(string(body), "longer than 3s") || took < 2500*time.Millisecond {
				t.Errorf("%s: %d %s after %v", framing, res.StatusCode, body, took)
			}
		})
	}
	for _, c := range []struct {
		path, framing string
		size, pieces  int
	}{
		{"/", "Content-Length: 5000", 100, 50},
		{"/", "Transfer-Encoding: chunked", 100, 50},
		{"/talk", "Transfer-Encoding: chunked", 1, 50},
	} {
		all.Go(func() {
			p := dial(t, f.addr).send(request("POST", c.path, shopHost, c.framing))
			go drip(p, strings.HasPrefix(c.framing, "T"), c.size, c.pieces)
			res, err := http.ReadResponse(p.r, nil)
			if err != nil {
				t.Errorf("%v: %v", c, err)
				return
			}
			if body, _ := io.ReadAll(res.Body); string(body) != fmt.Sprint(c.size*c.pieces) {
				t.Errorf("%v: %d %s", c, res.StatusCode, body)
			}
		})
	}
	all.Wait()
}
