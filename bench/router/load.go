package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

const host = "shop.micro.test"

// drive sends requests over a number of connections, each with one at a time, and returns how long each took. It sends
// rate requests per second, or one after the other where rate is 0.
func drive(ctx context.Context, p *proxy, l load, length time.Duration, conns int, rate float64) (times, error) {
	var head bytes.Buffer
	method := "GET"
	if l.upload > 0 {
		method = "POST"
	}
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\nAccept: text/html,*/*\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en-GB,en;q=0.5\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n", method, l.path, host)
	if l.way == newTLS {
		head.WriteString("Connection: close\r\n")
	}
	if l.upload > 0 {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", l.upload)
	}
	head.WriteString("\r\n")
	head.Write(make([]byte, l.upload))
	want, err := strconv.Atoi(l.path[1:])
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var sum times
	var first error
	var all sync.WaitGroup
	multiplexed := l.way == byHTTP2 || l.way == byHTTP3
	if multiplexed {
		conns = max(conns/streams, 1) * streams
	}
	begin := time.Now()
	var send func() error
	for i := range conns {
		next := pace{next: begin, end: begin.Add(length)}
		if rate > 0 {
			next.every = time.Duration(float64(conns) / rate * float64(time.Second))
			next.next = begin.Add(next.every * time.Duration(i) / time.Duration(conns))
		}
		if multiplexed && i%streams == 0 {
			var end func()
			send, end = newMultiplexed(p, l, want)
			defer end()
		}
		send := send
		all.Go(func() {
			t, err := one(ctx, p, l, head.Bytes(), want, next, send)
			mu.Lock()
			defer mu.Unlock()
			sum = append(sum, t...)
			if first == nil {
				first = err
			}
		})
	}
	all.Wait()
	return sum, first
}

// pace says when a connection sends its requests.
type pace struct {
	every     time.Duration // 0: each at once after the answer to the one before
	next, end time.Time
}

// wait returns when the next request is due, and the time from which its duration counts: where the answer to the
// request before came late, that is when it was due, or a slow proxy would be asked less and look fast.
func (p *pace) wait() (from time.Time, more bool) {
	now := time.Now()
	if p.every == 0 {
		return now, now.Before(p.end)
	}
	due := p.next
	p.next = due.Add(p.every)
	if !due.Before(p.end) {
		return due, false
	}
	if now.Before(due) {
		time.Sleep(due.Sub(now))
		return time.Now(), true
	}
	return due, true
}

// one sends requests one after the other: by send where there is one, else on a connection of its own.
func one(ctx context.Context, p *proxy, l load, request []byte, want int, next pace, send func() error) (t times, err error) {
	var c net.Conn
	r := bufio.NewReaderSize(nil, 128<<10)
	for {
		begin, more := next.wait()
		if !more || ctx.Err() != nil {
			if c != nil {
				c.Close()
			}
			return t, ctx.Err()
		}
		switch {
		case send != nil:
			err = send()
		default:
			if c == nil {
				if c, err = connect(ctx, p, l.way); err != nil {
					return t, err
				}
				r.Reset(c)
			}
			if err = exchange(c, r, request, want); err != nil || l.way == newTLS {
				c.Close()
				c = nil
			}
		}
		if err != nil {
			return t, err
		}
		t = append(t, time.Since(begin))
	}
}

// exchange sends a request and reads an answer with a body of want bytes.
func exchange(c net.Conn, r *bufio.Reader, request []byte, want int) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answer %q", line)
	}
	for len(line) > 2 {
		if line, err = r.ReadSlice('\n'); err != nil {
			return err
		}
	}
	_, err = r.Discard(want)
	return err
}

// serveBackend answers GET /N with N bytes, as cheaply as can be: it shares the machine with what is measured.
func serveBackend(ctx context.Context, addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = ln.Close() })
	for {
		c, err := ln.Accept()
		if err != nil {
			return nil
		}
		go answer(c)
	}
}

func answer(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	answers := map[string][]byte{}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		path := string(bytes.Fields(line)[1])
		length := 0
		for len(line) > 2 {
			if line, err = r.ReadSlice('\n'); err != nil {
				return
			}
			if name, value, ok := bytes.Cut(line, []byte(": ")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
				length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
			}
		}
		if _, err := io.CopyN(io.Discard, r, int64(length)); err != nil {
			return
		}
		a := answers[path]
		if a == nil {
			n, _ := strconv.Atoi(path[1:])
			a = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nServer: bench\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n%s", n, bytes.Repeat([]byte("x"), n))
			answers[path] = a
		}
		if _, err := c.Write(a); err != nil {
			return
		}
	}
}

func freePorts(n int) ([]string, error) {
	var addrs []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs, nil
}

func await(ctx context.Context, addr string) error {
	var d net.Dialer
	for range 200 {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		time.Sleep(25 * time.Millisecond)
	}
	return fmt.Errorf("nothing listens on %s", addr)
}
