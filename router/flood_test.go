package router

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestHTTP2Floods: cheap frames in great numbers cost the router no more than their own connection.
func TestHTTP2Floods(t *testing.T) {
	f, client := multi(t)
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {}))
	addr := f.listen(Listener{Internal: true, Handshake: knowing})
	var head bytes.Buffer
	fields := hpack.NewEncoder(&head)
	for _, one := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", shopHost}, {":path", "/"}} {
		if err := fields.WriteField(hpack.HeaderField{Name: one[0], Value: one[1]}); err != nil {
			t.Fatal(err)
		}
	}
	before := runtime.NumGoroutine()
	for name, flood := range map[string]struct {
		frame func(*http2.Framer, uint32) error
		ends  bool // the connection
	}{
		"rapid reset": {func(out *http2.Framer, i uint32) error {
			if err := out.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: head.Bytes(), EndHeaders: true, EndStream: true}); err != nil {
				return err
			}
			return out.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}, false},
		"continuation": {func(out *http2.Framer, i uint32) error {
			if i == 0 {
				return out.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes()})
			}
			return out.WriteContinuation(1, false, bytes.Repeat([]byte{0x00, 0x01, 'a', 0x01, 'b'}, 200))
		}, true},
		"ping": {func(out *http2.Framer, i uint32) error { return out.WritePing(false, [8]byte{1}) }, false},
		// Each is answered. Answers that are not read end the connection or hold it up, as soon as the kernel takes no more.
		"settings": {func(out *http2.Framer, i uint32) error { return out.WriteSettings() }, false},
	} {
		p := dial(t, addr)
		// What answers them is not read: it must not pile up either.
		_ = p.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		begun := time.Now()
		_ = p.SetDeadline(begun.Add(2 * time.Minute)) // a busy machine takes its time to be flooded
		p.send(http2.ClientPreface)
		most := uint32(20_000)
		if flood.ends {
			most = 2_000_000
		}
		buffered := bufio.NewWriterSize(p.Conn, 64<<10)
		out := http2.NewFramer(buffered, nil)
		err := out.WriteSettings()
		for i := uint32(0); i < most && err == nil; i++ {
			err = flood.frame(out, i)
		}
		if err == nil {
			err = buffered.Flush()
		}
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() && flood.ends {
			t.Errorf("%s: the connection goes on after %v", name, time.Since(begun))
		}
		if flood.ends && err == nil && !endsSoon(p) {
			t.Errorf("%s: the connection goes on", name)
		}
		_ = p.Close()
		// Others are served meanwhile.
		res, err := client.Get("http://" + shopHost + "/")
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%s: %v, %v", name, res, err)
		}
		_ = res.Body.Close()
	}
	eventually(t, func() bool { return f.Stats().InFlight[ref("shop").Release(1)] == 0 })
	eventually(t, func() bool { return runtime.NumGoroutine() < before+100 })
}

// endsSoon tells that the router ends the connection, whatever it says before.
func endsSoon(p *peer) bool {
	_ = p.SetReadDeadline(time.Now().Add(time.Minute))
	_, err := p.r.WriteTo(new(bytes.Buffer))
	netErr, timeout := err.(interface{ Timeout() bool })
	return !timeout || !netErr.Timeout()
}
