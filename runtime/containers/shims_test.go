package containers

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/protoduction/micro/runtime/engine"
)

// spareOf waits until there is a spare shim that is not in a list, and returns its process.
func (r *rig) spareOf(not ...uint32) uint32 {
	r.t.Helper()
	for range 6000 {
		if pid := uint32(r.shims.Spare()); pid != 0 && !slices.Contains(not, pid) {
			return pid
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Fatal("there is no spare shim")
	return 0
}

func TestSpareShim(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- r.Driver.Run(ctx) }()
	spare := r.spareOf()
	a := r.container()
	running := r.start(a)
	if got := parent(t, running.PID); got != spare {
		t.Errorf("shim %d took the first container in, not the spare %d", got, spare)
	}
	second := r.spareOf(spare)
	if got := parent(t, r.start(r.container()).PID); got != spare {
		t.Errorf("shim %d took in another of the same release, not %d", got, spare)
	}
	b := r.container()
	b.Shim = "b"
	if got := parent(t, r.start(b).PID); got != second {
		t.Errorf("shim %d took another release's in, not the spare %d", got, second)
	}
	// A killed spare does no harm.
	third := r.spareOf(spare, second)
	kill(t, third)
	c := r.container()
	c.Shim = "c"
	r.start(c)
	// A shim ends with its last container, and the spare with Run.
	r.spareOf(spare, second, third)
	if err := r.Driver.Remove(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.Driver.Remove(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if left := processesOf(engine.StateDir(r.dir)); len(left) != 1 {
		t.Errorf("run: %s", left)
	}
	r.ask(running.IP, 80)
	sockets, err := os.ReadDir(engine.StateDir(r.dir) + "/s")
	if err != nil || len(sockets) != 1 {
		t.Errorf("sockets: %v, %v", sockets, err)
	}
}

// A container starts in another shim where its first one is killed while it starts it, and leaves a process and a state.
func TestShimThatEndsInAStart(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- r.Driver.Run(ctx) }()
	c := r.container()
	spare := r.spareOf()
	left := exec.Command("sleep", "60")
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	r.step = func(name string) error {
		if name != "parts" {
			return nil
		}
		kill(t, spare)
		for _, controller := range []string{"memory", "devices"} { // runc looks at devices, which version 2 has not
			procs, err := r.cgroupOf(c.ID).file(controller, "cgroup.procs", "cgroup.procs")
			if err != nil {
				continue
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(procs), 0o755), os.WriteFile(procs, []byte(strconv.Itoa(left.Process.Pid)), 0)); err != nil {
				t.Error(err)
			}
		}
		return os.MkdirAll(filepath.Join(r.engine.State(), "runc", r.engine.Namespace(), c.ID), 0o711)
	}
	running := r.start(c)
	if got := parent(t, running.PID); got == spare {
		t.Errorf("the killed shim %d has it", got)
	}
	if err := left.Wait(); err == nil {
		t.Error("the process of before lives")
	}
	r.ask(running.IP, 80)
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// A container joins no shim that an older micro started for its release: that one would not give it its secrets.
func TestShimOfOlderMicro(t *testing.T) {
	r := newRig(t)
	c := r.container("env")
	c.Shim, c.Secrets = "shop", []string{"PASSWORD=known"}
	old, err := r.shims.Join(c.Shim) // the group's name in an older micro
	if err != nil {
		t.Fatal(err)
	}
	out, _ := r.run(c)
	assertLines(t, out, "PASSWORD=known")
	current, err := r.shims.Join(shimGroup(c))
	if err != nil {
		t.Fatal(err)
	}
	if current == old {
		t.Error("it shares the older shim")
	}
	for _, p := range []*engine.Shim{old, current} {
		if !r.shims.Leave(p) {
			t.Error("there is a container in it still")
		}
		if err := r.shims.End(p); err != nil {
			t.Error(err)
		}
	}
}

// TestShimOfNobody checks that a container that never gets into its shim leaves no shim.
func TestShimOfNobody(t *testing.T) {
	r := newRig(t)
	c := r.container()
	c.Image = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	if _, err := r.Start(t.Context(), c); err == nil {
		t.Error("it runs")
	}
	r.step = func(name string) error {
		if name == "parts" {
			return os.ErrDeadlineExceeded
		}
		return nil
	}
	if _, err := r.Start(t.Context(), r.container()); err == nil {
		t.Error("it runs")
	}
	r.step = func(string) error { return nil }
	r.bare()
	if sockets, err := os.ReadDir(engine.StateDir(r.dir) + "/s"); err != nil || len(sockets) != 0 {
		t.Errorf("sockets: %v, %v", sockets, err)
	}
}
