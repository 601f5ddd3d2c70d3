package containers

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/engine"
)

// attached returns a container whose streams are connected to the caller.
func (r *rig) attached(c *runtime.Command, args ...string) runtime.Container {
	made := r.container(args...)
	made.Log, made.Attach = "", c
	return made
}

// slow is a reader of output that sleeps between reads.
type slow struct {
	bytes.Buffer
	slept bool
}

func (s *slow) Write(p []byte) (int, error) {
	if !s.slept {
		s.slept = true
		time.Sleep(2 * flushTimeout)
	}
	return s.Buffer.Write(p)
}

func TestAttach(t *testing.T) {
	r := newRig(t)
	end := func(c runtime.Container) runtime.Exit {
		t.Helper()
		r.start(c)
		x, err := r.Wait(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Driver.Remove(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		return x
	}
	var out, errs bytes.Buffer
	if x := end(r.attached(&runtime.Command{Stdout: &out, Stderr: &errs}, "nonsense")); x.Code != 2 || out.Len() > 0 || errs.String() != "probe: no verb nonsense\n" {
		t.Errorf("streams: %+v %q %q", x, out.String(), errs.String())
	}
	input := strings.Repeat("x", 1<<20)
	var late slow
	end(r.attached(&runtime.Command{Stdin: strings.NewReader(input), Stdout: &late}, "copy"))
	if late.String() != input+"copied 1048576\n" {
		t.Errorf("copy: %d bytes", late.Len())
	}
	keys, typed := io.Pipe()
	out.Reset()
	go func() {
		_, _ = io.WriteString(typed, "quit\n")
	}()
	x := end(r.attached(&runtime.Command{TTY: true, Rows: 33, Columns: 101, Stdin: keys, Stdout: &out}, "tty"))
	typed.Close()
	if x.Code != 7 || !strings.Contains(out.String(), "size 33 101 <nil>") {
		t.Errorf("terminal: %+v %q", x, out.String())
	}

	if _, err := r.Start(t.Context(), r.attached(&runtime.Command{Stdout: &out, Stderr: &errs})); err != nil {
		t.Errorf("the image's own command: %v", err)
	}
	c := r.attached(&runtime.Command{Stdin: keys, Stdout: &out}, "say")
	c.Args = []string{"/nowhere"}
	if _, err := r.Start(t.Context(), c); cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("a program that is not there: %v", err)
	}

	// The caller can end it at any time, even if nobody reads its output.
	stuck, full := io.Pipe()
	c = r.attached(&runtime.Command{Stdout: full}, "tty")
	r.start(c)
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.Wait(ctx, c.ID); err == nil {
		t.Error("it has ended by itself")
	}
	if err := r.Driver.Remove(t.Context(), c.ID); err != nil || time.Since(begin) > 40*time.Second {
		t.Errorf("remove: %v after %s", err, time.Since(begin))
	}
	stuck.Close()
	if left, err := os.ReadDir(fifos(engine.StateDir(r.dir))); err != nil || len(left) > 1 { // one for the serving container
		t.Errorf("pipes: %v, %v", left, err)
	}
	if info, err := os.Stat(fifos(engine.StateDir(r.dir))); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder of pipes: %v, %v", info.Mode(), err)
	}
}

// A command in a container has lost its caller when micro was killed, and goes; the container stays.
func TestCommandsEndWithMicro(t *testing.T) {
	r := newRig(t)
	c := r.container()
	running := r.start(c)
	keys, typed := io.Pipe()
	defer typed.Close()
	said, says := io.Pipe()
	go func() {
		// Leave the process alone, as a killed micro does.
		_, _ = r.Exec(t.Context(), c.ID, runtime.Command{Args: []string{"/probe", "tty"}, Stdin: keys, Stdout: says})
	}()
	if _, err := said.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, said) }()
	commands := func() int {
		pids, err := r.instances[c.ID].task.Pids(r.engine.Context(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		return len(pids) - 2 // the init and the app
	}
	if n := commands(); n != 1 {
		t.Fatalf("%d commands run", n)
	}
	if err := r.dropStreams(r.engine.Context(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := commands(); n != 0 {
		t.Errorf("%d commands run on", n)
	}
	if left, _ := filepath.Glob(fifos(engine.StateDir(r.dir)) + "/*"); len(left) > 0 {
		t.Errorf("pipes: %v", left)
	}
	if got := r.ask(running.IP, 80); !strings.HasPrefix(got, "ok") {
		t.Errorf("the container: %q", got)
	}
}
