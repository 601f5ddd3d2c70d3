package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// line is a client's connection that stays open: it asks an app for its name ten times a second.
type line struct {
	opened time.Time
	ended  chan struct{}

	mu     sync.Mutex
	answer string
	count  int
	until  time.Time // of the last answer
	err    error     // why it has ended
}

// lineCommand handles connections to routes that pass bytes on. line open NAME tcp:PORT, or HOST by TLS, opens one; line
// next NAME waits for its next answer and prints it; line lasted NAME MIN MAX waits for its end, and fails where it was
// answered for less or more time.
func lineCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: line open NAME tcp:PORT|HOST, line next NAME, line lasted NAME MIN MAX")
	}
	key := ts.Getenv("MICRO_DATA") + " line " + args[1]
	if args[0] == "open" {
		l, err := openLine(args[2], ts.Getenv("HTTPS"))
		ts.Check(err)
		loads.Store(key, l)
		return
	}
	v, ok := loads.Load(key)
	if !ok {
		ts.Fatalf("no line %s", args[1])
	}
	l := v.(*line)
	switch args[0] {
	case "next":
		answer, err := l.next(patience)
		ts.Check(err)
		fmt.Fprint(ts.Stdout(), answer)
	case "lasted":
		least, err := time.ParseDuration(args[2])
		ts.Check(err)
		most, err := time.ParseDuration(args[3])
		ts.Check(err)
		select {
		case <-l.ended:
		case <-time.After(time.Until(l.opened.Add(most))):
			ts.Fatalf("it goes on after %s", most)
		}
		lasted := l.until.Sub(l.opened)
		ts.Logf("it was answered %d times in %s, and ended: %v", l.count, lasted, l.err)
		if lasted < least {
			ts.Fatalf("it ended after %s: %v", lasted, l.err)
		}
	default:
		ts.Fatalf("line %s is unknown", args[0])
	}
}

func openLine(target, httpsPort string) (*line, error) {
	l := &line{opened: time.Now(), ended: make(chan struct{})}
	var conn net.Conn
	var err error
	if port, ok := strings.CutPrefix(target, "tcp:"); ok {
		conn, err = net.DialTimeout("tcp", "127.0.0.1:"+port, patience)
	} else {
		conn, err = tls.Dial("tcp", "127.0.0.1:"+httpsPort, &tls.Config{ServerName: target, InsecureSkipVerify: true})
	}
	if err != nil {
		return nil, err
	}
	go l.ask(conn)
	return l, nil
}

// ask asks until the connection ends.
func (l *line) ask(conn net.Conn) {
	defer close(l.ended)
	defer conn.Close()
	r := bufio.NewReader(conn)
	for err := error(nil); err == nil; {
		var b []byte
		if b, err = askOnce(conn, r); err == nil {
			l.mu.Lock()
			l.answer, l.until = string(b), time.Now()
			l.count++
			l.mu.Unlock()
			time.Sleep(100 * time.Millisecond) // the client's own pace
			continue
		}
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
	}
}

func askOnce(conn net.Conn, r *bufio.Reader) ([]byte, error) {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: line\r\n\r\n"); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return b, err
}

// next waits for an answer that has not been there yet when it is called.
func (l *line) next(limit time.Duration) (string, error) {
	state := func() (string, int, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.answer, l.count, l.err
	}
	_, before, _ := state()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // a poll, with an end
		switch answer, n, err := state(); {
		case err != nil:
			return "", err
		case n > before+1: // one may have been on its way
			return answer, nil
		}
	}
	return "", errors.New("no answer")
}
