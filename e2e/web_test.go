package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// raw REQUEST sends bytes to the script's router, \r and \n written out, and prints all that comes back
// until the router closes.
func rawCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: raw REQUEST")
	}
	conn := dialRouter(ts)
	defer conn.Close()
	_, err := io.WriteString(conn, strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(args[0]))
	ts.Check(err)
	b, err := io.ReadAll(conn)
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), strings.ReplaceAll(string(b), "\r\n", "\n"))
}

func dialRouter(ts *testscript.TestScript) net.Conn {
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+ts.Getenv("HTTP"), patience)
	ts.Check(err)
	ts.Check(conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// ws HOST/PATH TEXT… opens a WebSocket, sends each text as a message, and prints what comes back: a
// message each. It ends the connection as RFC 6455 has it.
func wsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: ws HOST/PATH TEXT…")
	}
	conn := dialRouter(ts)
	defer conn.Close()
	host, path, _ := strings.Cut(args[0], "/")
	var nonce [16]byte
	rand.Read(nonce[:])
	fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		path, host, base64.StdEncoding.EncodeToString(nonce[:]))
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	ts.Check(err)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		ts.Fatalf("the answer is %s", resp.Status)
	}
	for _, text := range args[1:] {
		writeFrame(ts, conn, 1, text)
		op, got := readFrame(ts, in)
		fmt.Fprintf(ts.Stdout(), "%d %s\n", op, got)
	}
	writeFrame(ts, conn, 8, "\x03\xe8")
	op, _ := readFrame(ts, in)
	for op != 8 {
		op, _ = readFrame(ts, in)
	}
	fmt.Fprintln(ts.Stdout(), "closed")
}

// writeFrame sends a masked frame of less than 126 bytes; the mask is zero, which is one too.
func writeFrame(ts *testscript.TestScript, w io.Writer, op byte, payload string) {
	_, err := w.Write(append([]byte{0x80 | op, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...))
	ts.Check(err)
}

func readFrame(ts *testscript.TestScript, r io.Reader) (op byte, payload []byte) {
	var head [2]byte
	_, err := io.ReadFull(r, head[:])
	ts.Check(err)
	payload = make([]byte, head[1]&0x7f)
	_, err = io.ReadFull(r, payload)
	ts.Check(err)
	return head[0] & 0x0f, payload
}

// stream HOST/PATH LINE prints a stream's lines up to one, and then leaves. It waits for 40 seconds: of a stream that fills no
// buffer in that time, the lines have come one by one.
func streamCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: stream HOST/PATH LINE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	resp := askRouter(ts, ctx, args[0])
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		fmt.Fprintln(ts.Stdout(), s.Text())
		if s.Text() == args[1] {
			return
		}
	}
	ts.Fatalf("the stream ended without %q", args[1])
}

func askRouter(ts *testscript.TestScript, ctx context.Context, target string) *http.Response {
	host, path, _ := strings.Cut(target, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+ts.Getenv("HTTP")+"/"+path, nil)
	ts.Check(err)
	req.Host = host
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	ts.Check(err)
	return resp
}

// spread N TOLERANCE HOST TEXT=SHARE… sends N requests, each of which is to be answered 200, and checks
// how many of the answers have each text.
func spreadCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: spread N TOLERANCE HOST TEXT=COUNT…")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	tolerance, err := strconv.Atoi(args[1])
	ts.Check(err)
	got := map[string]int{}
	for range n {
		resp := askRouter(ts, context.Background(), args[2])
		b, err := io.ReadAll(resp.Body)
		ts.Check(err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			ts.Fatalf("%s: %s", resp.Status, b)
		}
		for _, arg := range args[3:] {
			if text, _, _ := strings.Cut(arg, "="); strings.Contains(string(b), text) {
				got[text]++
			}
		}
	}
	for _, arg := range args[3:] {
		text, share, _ := strings.Cut(arg, "=")
		want, err := strconv.Atoi(share)
		ts.Check(err)
		if d := got[text] - want; d > tolerance || d < -tolerance {
			ts.Fatalf("of %d answers are %v, want %v", n, got, args[3:])
		}
	}
}

// receive PORT FILE appends the bodies of all requests to a port to a file, a line each, until the script ends.
func receiveCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: receive PORT FILE")
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+args[0])
	ts.Check(err)
	file := ts.MkAbs(args[1])
	ts.Check(os.WriteFile(file, nil, 0o600))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			var f *os.File
			if f, err = os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0); err == nil {
				_, err = f.Write(append(body, '\n'))
				err = errors.Join(err, f.Close())
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})}
	go func() { _ = server.Serve(l) }() // until it is closed
	ts.Defer(func() { ts.Check(server.Close()) })
}
