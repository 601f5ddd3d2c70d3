package router

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// frame makes a frame of a WebSocket. first is its first byte: 0x81 is a whole text, 0x01 the first part of one.
func frame(first byte, payload string, masked bool) []byte {
	b := []byte{first}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if !masked {
		return append(b, payload...)
	}
	key := []byte{1, 2, 3, 4}
	b = append(b, key...)
	for i := range payload {
		b = append(b, payload[i]^key[i%4])
	}
	return b
}

// readFrame reads a frame as a strict endpoint does.
func readFrame(r io.Reader, masked bool) (first byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, "", err
	}
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 != masked {
		return 0, "", fmt.Errorf("no frame begins with %x, masked %v", head, masked)
	}
	n := uint64(head[1] & 0x7f)
	ext := make([]byte, map[uint64]int{126: 2, 127: 8}[n])
	if _, err := io.ReadFull(r, ext); err != nil {
		return 0, "", err
	}
	switch len(ext) {
	case 2:
		n = uint64(binary.BigEndian.Uint16(ext))
	case 8:
		n = binary.BigEndian.Uint64(ext)
	}
	var key [4]byte
	if masked {
		if _, err := io.ReadFull(r, key[:]); err != nil {
			return 0, "", err
		}
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, "", err
	}
	for i := range b {
		b[i] ^= key[i%4]
	}
	return head[0], string(b), nil
}

// webSocketApp accepts WebSockets and hands each to serve.
func webSocketApp(t testing.TB, serve func(*net.TCPConn, *bufio.Reader)) string {
	return rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
		q, _, err := readRequest(r)
		if err != nil {
			return
		}
		if q.Header.Get("Upgrade") == "" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		serve(c, r)
	})
}

func openWebSocket(t testing.TB, f *front) *peer {
	t.Helper()
	p := dial(t, f.addr).send(get("/", shopHost, "Connection: Upgrade", "Upgrade: websocket"))
	if res, err := http.ReadResponse(p.r, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("got %v, %v", res, err)
	}
	return p
}

// TestWebSocketGoesAway: when its instance is drained a WebSocket gets a close frame on both sides, between frames
// and masked as it should be, and ends when both have answered.
func TestWebSocketGoesAway(t *testing.T) {
	for name, end := range map[string]func(*front, cloud.InstanceID) error{
		"drain":    func(f *front, id cloud.InstanceID) error { return f.Drain(t.Context(), id) },
		"shutdown": func(f *front, _ cloud.InstanceID) error { return f.Shutdown(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, Config{})
			told := make(chan string, 1)
			f.world.app("shop", 1, 1)
			id := f.world.up("shop", 1, webSocketApp(t, func(c *net.TCPConn, r *bufio.Reader) {
				for {
					first, payload, err := readFrame(r, true)
					if err != nil {
						told <- err.Error()
						return
					}
					if first == 0x88 {
						told <- payload
						_, _ = c.Write(frame(0x88, payload, false))
						return
					}
					_, _ = c.Write(frame(first, payload, false))
				}
			}))
			f.swap()
			p := openWebSocket(t, f)
			for _, n := range []int{3, 200, 70_000} {
				text := string(bytes.Repeat([]byte("x"), n))
				p.send(string(frame(0x81, text, true)))
				if first, got, err := readFrame(p.r, false); first != 0x81 || got != text || err != nil {
					t.Fatalf("%d bytes: %x, %v", n, first, err)
				}
			}
			f.world.down(id)
			f.swap()
			ended := make(chan error, 1)
			begun := time.Now()
			go func() { ended <- end(f, id) }()
			first, payload, err := readFrame(p.r, false)
			if err != nil || first != 0x88 || len(payload) < 2 || binary.BigEndian.Uint16([]byte(payload)) != 1001 {
				t.Fatalf("the client got %x %q, %v", first, payload, err)
			}
			if got := <-told; len(got) < 2 || binary.BigEndian.Uint16([]byte(got)) != 1001 {
				t.Errorf("the app got %q", got)
			}
			p.send(string(frame(0x88, payload, true)))
			if err := <-ended; err != nil || time.Since(begun) > 8*time.Second {
				t.Errorf("ended after %v: %v", time.Since(begun), err)
			}
			if !p.closed() {
				t.Error("the client's connection is open")
			}
		})
	}
}

// TestGoodbyeBetweenFrames: the close frame waits for the end of a frame, whichever way it is cut into pieces.
func TestGoodbyeBetweenFrames(t *testing.T) {
	f := newFront(t, Config{})
	rest := make(chan bool)
	whole := frame(0x82, string(bytes.Repeat([]byte("payload"), 100)), false)
	f.world.app("shop", 1, 1)
	id := f.world.up("shop", 1, webSocketApp(t, func(c *net.TCPConn, r *bufio.Reader) {
		_, _ = c.Write(whole[:3])
		<-rest
		_, _ = c.Write(append(append([]byte{}, whole[3:]...), frame(0x81, "dropped", false)...))
		for {
			if first, _, err := readFrame(r, true); err != nil || first == 0x88 {
				_, _ = c.Write(frame(0x88, "", false))
				return
			}
		}
	}))
	f.swap()
	p := openWebSocket(t, f)
	if _, err := p.r.Peek(3); err != nil {
		t.Fatal(err)
	}
	f.world.down(id)
	f.swap()
	ended := make(chan error, 1)
	go func() { ended <- f.Drain(t.Context(), id) }()
	// The client's direction is idle: the app is told at once.
	eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		leaving := false
		for _, e := range f.retired[id] {
			e.tunnels.mu.Lock()
			for p := range e.tunnels.all {
				leaving = leaving || p.leaving.Load() > 0
			}
			e.tunnels.mu.Unlock()
		}
		return leaving
	})
	close(rest)
	if first, got, err := readFrame(p.r, false); first != 0x82 || len(got) != 700 || err != nil {
		t.Fatalf("%x, %d bytes, %v", first, len(got), err)
	}
	if first, _, err := readFrame(p.r, false); first != 0x88 || err != nil {
		t.Fatalf("%x, %v", first, err)
	}
	p.send(string(frame(0x88, "", true)))
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !p.closed() {
		t.Error("something follows the close frame")
	}
}

// TestFramesFollowed: frames end where they end, however they are cut.
func TestFramesFollowed(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var all []byte
		ends := map[int]bool{0: true}
		for range 1 + random.IntN(5) {
			n := []int{0, 1, 125, 126, 65535, 65536}[random.IntN(6)]
			all = append(all, frame(0x82, string(make([]byte, n)), random.IntN(2) == 0)...)
			ends[len(all)] = true
		}
		var f frames
		for at := 0; at < len(all); {
			n := min(1+random.IntN(7000), len(all)-at)
			stop := random.IntN(2) == 0
			k := f.pass(all[at:at+n], stop)
			if k != n && (!stop || !ends[at+k]) {
				t.Fatalf("stopped at %d", at+k)
			}
			if at += k; f.between() != ends[at] {
				t.Fatalf("between frames at %d: %v", at, f.between())
			}
		}
	}
}

// TestIdleStreams: a WebSocket or an endless answer that rests does not keep requests from its instance.
func TestIdleStreams(t *testing.T) {
	f := newFront(t, Config{})
	var served [2]int
	var addrs []string
	for i := range served {
		addrs = append(addrs, rawBackend(t, func(c *net.TCPConn, r *bufio.Reader) {
			for {
				q, _, err := readRequest(r)
				if err != nil {
					return
				}
				switch {
				case q.Header.Get("Upgrade") != "":
					_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
				case q.URL.Path == "/events":
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
				default:
					served[i]++
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}
		}))
	}
	f.shop(addrs...)
	ask := func(n int) (least int) {
		served = [2]int{}
		p := dial(t, f.addr)
		for range n {
			p.send(get("/", shopHost)).answer("GET")
		}
		return min(served[0], served[1])
	}
	openWebSocket(t, f)
	if least := ask(400); least < 120 {
		t.Errorf("beside an idle WebSocket an instance gets %d of 400 requests", least)
	}
	p := dial(t, f.addr).send(get("/events", shopHost))
	if _, err := http.ReadResponse(p.r, nil); err != nil {
		t.Fatal(err)
	}
	if least := ask(400); least < 120 {
		t.Errorf("beside an idle stream an instance gets %d of 400 requests", least)
	}
	// Many are spread, though.
	for range 60 {
		openWebSocket(t, f)
	}
	var streams []int64
	for _, e := range f.Table().endpoints.all {
		streams = append(streams, e.streams.Load())
	}
	if streams[0] < 12 || streams[1] < 12 {
		t.Errorf("60 WebSockets are spread %v", streams)
	}
}
