package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// long are requests that outlast a deploy: an answer of some seconds, an event stream and a WebSocket.
// Each must end properly: whole, with the app's own last event, or with its closing frame.
type long struct {
	ended chan error
	names []string
}

// longCommand begins such requests (long start HOST), or waits for their ends (long stop).
func longCommand(ts *testscript.TestScript, neg bool, args []string) {
	key := ts.Getenv("MICRO_DATA") + " long"
	switch {
	case len(args) == 2 && args[0] == "start":
		at, host := "127.0.0.1:"+ts.Getenv("HTTP"), args[1]
		l := &long{ended: make(chan error, 3), names: []string{"slow", "stream", "socket"}}
		loads.Store(key, l)
		for i, do := range []func(context.Context, string, string) error{longAnswer, longStream, longSocket} {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
				defer cancel()
				if err := do(ctx, at, host); err != nil {
					l.ended <- fmt.Errorf("%s: %w", l.names[i], err)
					return
				}
				l.ended <- nil
			}()
		}
	case len(args) == 1 && args[0] == "stop":
		v, ok := loads.LoadAndDelete(key)
		if !ok {
			ts.Fatalf("nothing long is under way")
		}
		for l := v.(*long); len(l.names) > 0; l.names = l.names[1:] {
			ts.Check(<-l.ended)
		}
	default:
		ts.Fatalf("usage: long start HOST, long stop")
	}
}

func longGet(ctx context.Context, at, host, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+path, nil)
	if err != nil {
		return nil, err
	}
	req.Host = host
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		err = errors.New(resp.Status)
	}
	return resp, err
}

// longAnswer takes 20 seconds to come.
func longAnswer(ctx context.Context, at, host string) error {
	resp, err := longGet(ctx, at, host, "/slow?ms=20000")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// longStream has an event every tenth of a second for 20 seconds, or until the app says goodbye.
func longStream(ctx context.Context, at, host string) error {
	resp, err := longGet(ctx, at, host, "/sse?n=200&ms=100")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	events, bye := 0, false
	s := bufio.NewScanner(resp.Body)
	for s.Scan() {
		if strings.HasPrefix(s.Text(), "data:") {
			events++
		}
		bye = bye || s.Text() == "event: bye"
	}
	if s.Err() == nil && events < 200 && !bye {
		return fmt.Errorf("it ended after %d events without a goodbye", events)
	}
	return s.Err()
}

// longSocket echoes over a WebSocket for 20 seconds, or until the app closes it with "going away".
func longSocket(ctx context.Context, at, host string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(resp.Status)
	}
	for range 200 {
		// A client's frames are masked (RFC 6455, section 5.3).
		mask := make([]byte, 4)
		_, _ = rand.Read(mask) // it never fails
		frame := append([]byte{0x81, 0x80 | 4}, mask...)
		for i, b := range []byte("ping") {
			frame = append(frame, b^mask[i])
		}
		if _, err := conn.Write(frame); err != nil {
			return err
		}
		head := make([]byte, 2)
		if _, err := io.ReadFull(r, head); err != nil {
			return err
		}
		body := make([]byte, head[1]&0x7f)
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		switch op := head[0] & 0xf; {
		case op == 8 && len(body) >= 2 && binary.BigEndian.Uint16(body) == 1001:
			return nil // the app is going away, and says so
		case op != 1 || string(body) != "ping":
			return fmt.Errorf("a frame of kind %d: %q", op, body)
		}
		select {
		case <-time.After(100 * time.Millisecond): // the client's own pace
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
