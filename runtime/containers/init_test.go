package containers

import (
	"bytes"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 6000 { // a minute, because the machine may be busy
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

// TestOrphansAreReaped makes more orphans than a container may have processes: they must be reaped when they end.
func TestOrphansAreReaped(t *testing.T) {
	r := newRig(t)
	c := r.container("orphans", "100")
	r.ask(r.start(c).IP, 80)
	eventually(t, "all orphans are reaped", func() bool {
		s, err := r.Stats(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		return s.Zombies == 0 && s.Processes == 1
	})
}

// TestNoInit checks that an app that is process 1 itself keeps its zombies, and that stats show them.
func TestNoInit(t *testing.T) {
	r := newRig(t)
	c := r.container("orphans", "5")
	c.NoInit = true
	r.ask(r.start(c).IP, 80)
	eventually(t, "its orphans are zombies", func() bool {
		s, err := r.Stats(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		return s.Zombies == 5 && s.Processes == 1
	})
	c = r.container("report")
	c.NoInit = true
	out, _ := r.run(c)
	assertLines(t, out, "dir / host "+c.ID+" pid 1")
}

func TestInitsOfImages(t *testing.T) {
	r := newRig(t)
	for program, ours := range map[string]bool{
		"/probe": true, "python3": true, "/sbin/init": false, "tini": false, "/usr/bin/dumb-init": false, "/init": false,
	} {
		if got := r.needsInit(runtime.Container{}, []string{program}); got != ours {
			t.Errorf("%s: %v", program, got)
		}
	}
}

// TestInitForwardsSignals checks that signals reach the app unchanged, and that the container ends with the app.
func TestInitForwards(t *testing.T) {
	r := newRig(t)
	c := r.container("signals")
	c.User = "app"
	r.start(c)
	task, want := r.instances[c.ID].task, "ready\n"
	logged := func() string {
		b, err := os.ReadFile(c.Log)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	eventually(t, "it is ready", func() bool { return logged() == want })
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR2, syscall.SIGWINCH, 40, syscall.SIGQUIT, syscall.SIGTERM} {
		if err := task.Kill(r.engine.Context(t.Context()), s); err != nil {
			t.Fatal(err)
		}
		want += s.String() + "\n"
		eventually(t, "it got "+s.String(), func() bool { return logged() == want })
	}
	if x, err := r.Wait(t.Context(), c.ID); err != nil || x.Code != 9 {
		t.Errorf("exit: %+v, %v", x, err)
	}

	// A program without a handler for SIGTERM must end by it. As process 1 it would not, because the kernel ignores it.
	c = r.container("sleep", "1h")
	r.start(c)
	if err := r.Stop(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if x, err := r.Wait(t.Context(), c.ID); err != nil || x.Code != 143 && x.Code != 2 {
		t.Errorf("exit: %+v, %v", x, err)
	}
	if _, x := r.run(r.container("die")); x.Code != 137 || x.OOM {
		t.Errorf("exit: %+v", x)
	}
}

// TestTerminalSignals checks that keys which make signals reach the app once. ^Z must not stop it, because no shell could
// continue it.
func TestInitOnTerminal(t *testing.T) {
	r := newRig(t)
	stdin, keys := io.Pipe()
	out := &lines{to: make(chan string, 100)}
	c := r.attached(&runtime.Command{TTY: true, Stdin: stdin, Stdout: out}, "signals")
	r.start(c)
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-out.to:
			if !strings.HasSuffix(got, want) { // the terminal's echo comes before it
				t.Errorf("terminal: %q, not %q", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("terminal: no %q", want)
		}
	}
	press := func(key string) {
		t.Helper()
		if _, err := io.WriteString(keys, key); err != nil {
			t.Fatal(err)
		}
	}
	expect("ready")
	press("\x03")
	expect("interrupt")
	press("\x1c")
	expect("quit")
	press("\x03")
	expect("interrupt")
	if err := r.Stop(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	expect("terminated")
	if x, err := r.Wait(t.Context(), c.ID); err != nil || x.Code != 9 {
		t.Errorf("exit: %+v, %v", x, err)
	}

	var shown bytes.Buffer
	stdin, keys = io.Pipe()
	c = r.attached(&runtime.Command{TTY: true, Stdin: stdin, Stdout: &shown}, "tty")
	r.start(c)
	press("\x1a")
	press("quit\n")
	if x, err := r.Wait(t.Context(), c.ID); err != nil || x.Code != 7 {
		t.Errorf("exit: %+v, %v", x, err)
	}
}

// TestMissingProgram checks that a missing or non-executable program is named in the error, whether the driver or the
// kernel finds the fault.
func TestProgramsThatDoNotRun(t *testing.T) {
	r := newRig(t)
	for program, want := range map[string]string{
		"nothing-there": "is not in the image", "/etc/nothing": "is not in the image", "/etc": "is a folder", "etc/passwd/x": "is not in the image",
	} {
		c := r.container()
		c.Args = []string{program}
		_, err := r.Start(t.Context(), c)
		if cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), program) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", program, err)
		}
	}
	c := r.container()
	c.Args = []string{"/etc/passwd"}
	out, x := r.run(c)
	if x.Code != 126 || !strings.Contains(out, "micro: /etc/passwd: this machine can't execute it") {
		t.Errorf("no program: %+v, %q", x, out)
	}
	for _, name := range []string{"probe", "./probe", "../probe"} { // relative to PATH, and to the working directory
		c = r.container()
		c.Args, c.Env = []string{name, "say", "found"}, []string{"PATH=/nowhere:/:/etc"}
		if out, x := r.run(c); out != "found\n" {
			t.Errorf("%s: %q, %+v", name, out, x)
		}
	}
}

// TestExecEndsWithItsCommand checks that Exec returns when its command ends, even if children hold its output open or
// write to it.
func TestExecEnds(t *testing.T) {
	r := newRig(t)
	c := r.container()
	running := r.start(c)
	for _, args := range [][]string{{"/probe", "hold", "1m"}, {"/probe", "chatter"}} {
		var out bytes.Buffer
		begin := time.Now()
		code, err := r.Exec(t.Context(), c.ID, runtime.Command{Args: args, Stdout: &out})
		if took := time.Since(begin); code != 0 || err != nil || took > 30*time.Second { // and not the minute that a child holds on
			t.Errorf("%s: %d, %v after %s", args, code, err, took)
		}
		if !strings.HasPrefix(out.String(), "held\n") && !strings.Contains(out.String(), "chatters\n") {
			t.Errorf("%s: %q", args, out.String())
		}
	}
	r.ask(running.IP, 80)
}
