package containers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

func TestExec(t *testing.T) {
	r := newRig(t)
	c := r.container()
	r.start(c)
	exec := func(x runtime.Command) (out, errs string, code int) {
		t.Helper()
		var o, e bytes.Buffer
		x.Stdout, x.Stderr = &o, &e
		code, err := r.Exec(t.Context(), c.ID, x)
		if err != nil {
			t.Fatal(err)
		}
		return o.String(), e.String(), code
	}
	if out, errs, code := exec(runtime.Command{Args: []string{"/probe", "say", "hi"}}); out != "hi\n" || errs != "" || code != 0 {
		t.Errorf("say: %q %q %d", out, errs, code)
	}
	if _, errs, code := exec(runtime.Command{Args: []string{"/probe", "nonsense"}}); errs != "probe: no verb nonsense\n" || code != 2 {
		t.Errorf("exit code and stderr: %q %d", errs, code)
	}
	out, _, _ := exec(runtime.Command{Args: []string{"/probe", "report"}, User: "app", Dir: "/etc"})
	assertLines(t, out, "uid 1000 gid 1000", "groups [1000 1234]", "NoNewPrivs: 1", "Seccomp: 2", "CapEff: 0000000000000000",
		"unshare user: operation not permitted", "reopen stdout: <nil>", "dir /etc host "+c.ID+" …")
	out, _, _ = exec(runtime.Command{Args: []string{"/probe", "env"}, User: "app", Env: []string{"B=exec"}})
	assertLines(t, out, "A=image", "B=exec", "HOME=/home/app")

	input := strings.Repeat("x", 1<<20)
	out, _, code := exec(runtime.Command{Args: []string{"/probe", "copy"}, Stdin: strings.NewReader(input)})
	if out != input+"copied 1048576\n" || code != 0 {
		t.Errorf("copy: %d bytes, code %d", len(out), code)
	}

	if code, err := r.Exec(t.Context(), c.ID, runtime.Command{Args: []string{"nothing"}}); code != 127 || cloud.CodeOf(err) != cloud.Invalid {
		t.Errorf("no such program: %d, %v", code, err)
	}
	code, err := r.Exec(t.Context(), c.ID, runtime.Command{Args: []string{"/probe", "env"}, Dir: "/nowhere"})
	if code != 126 || cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), "cannot enter folder /nowhere") {
		t.Errorf("no such folder: %d, %v", code, err)
	}
	if _, err := r.Exec(t.Context(), "nobody", runtime.Command{Args: []string{"x"}}); cloud.CodeOf(err) != cloud.NotFound {
		t.Errorf("no such container: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err = r.Exec(ctx, c.ID, runtime.Command{Args: []string{"/probe", "sleep", "1m"}})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 40*time.Second {
		t.Errorf("ctx ends: %v after %s", err, time.Since(begin))
	}
	if s, err := r.Stats(t.Context(), c.ID); err != nil || s.OOMKills != 0 {
		t.Errorf("stats: %+v, %v", s, err)
	}
}

// lines is a writer that sends each line to a channel.
type lines struct {
	mu  sync.Mutex
	buf string
	to  chan string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf += string(p)
	for {
		line, rest, ok := strings.Cut(l.buf, "\r\n")
		if !ok {
			return len(p), nil
		}
		l.to <- line
		l.buf = rest
	}
}

func TestExecTerminal(t *testing.T) {
	r := newRig(t)
	c := r.container()
	r.start(c)
	stdin, keys := io.Pipe()
	out := &lines{to: make(chan string, 100)}
	resize := make(chan runtime.Size)
	done := make(chan struct{})
	var code int
	var err error
	go func() {
		defer close(done)
		code, err = r.Exec(t.Context(), c.ID, runtime.Command{
			Args: []string{"/probe", "tty"}, User: "app", TTY: true, Rows: 33, Columns: 101, Stdin: stdin, Stdout: out, Resize: resize,
		})
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-out.to:
			if got != want {
				t.Errorf("terminal: %q, not %q", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("terminal: no %q", want)
		}
	}
	expect("size 33 101 <nil>")
	resize <- runtime.Size{Rows: 40, Columns: 120}
	for size := ""; size != "size 40 120 <nil>"; size = <-out.to { // the change arrives with a delay
		if size != "" && size != "size 33 101 <nil>" {
			t.Fatalf("terminal: %q", size)
		}
		if _, err := io.WriteString(keys, "again\n"); err != nil {
			t.Fatal(err)
		}
		expect("again") // the terminal's echo
	}
	if _, err := io.WriteString(keys, "quit\n"); err != nil {
		t.Fatal(err)
	}
	<-done
	if code != 7 || err != nil {
		t.Errorf("exit: %d, %v", code, err)
	}
}
