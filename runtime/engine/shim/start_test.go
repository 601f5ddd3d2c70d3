package shim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// created is what runc leaves of a container whose first process has this ID.
func created(t *testing.T, pid int) (state, fifo string) {
	t.Helper()
	state = t.TempDir()
	fifo = filepath.Join(state, "exec.fifo")
	if err := unix.Mkfifo(fifo, 0o622); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"id":"a","init_process_pid":%d}`, pid)
	if err := os.WriteFile(filepath.Join(state, "state.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return state, fifo
}

func TestLetRun(t *testing.T) {
	state, fifo := created(t, os.Getpid())
	wrote := make(chan error)
	go func() {
		f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString("0")
		}
		wrote <- err
	}()
	if !letRun(state) {
		t.Error("it does not run")
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(fifo); !os.IsNotExist(err) {
		t.Errorf("it waits: %v", err)
	}
	if letRun(state) {
		t.Error("it runs twice")
	}
}

// One that was killed before it was started is left to runc.
func TestLetRunNobody(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	state, fifo := created(t, dead.Process.Pid)
	if letRun(state) {
		t.Error("it runs")
	}
	if _, err := os.Stat(fifo); err != nil {
		t.Error(err)
	}
}

func TestToStart(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if got, _ := toStart(args); got != want {
			t.Errorf("%q: %q, not %q", args, got, want)
		}
	}
	f("/r/micro/shop", "runc", "--root", "/r/micro", "--log", "l", "start", "shop")
	f("", "runc", "--root", "/r/micro", "--log", "l", "kill", "start", "9")
	f("", "runc", "--root", "/r/micro", "delete", "start")
	f("", "runc", "start", "shop")
	f("", "runc", "--root")
}
