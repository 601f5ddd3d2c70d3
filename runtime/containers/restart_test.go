package containers

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/engine"
)

// nodeProcess is a node in another process.
type nodeProcess struct {
	t   *testing.T
	cmd *exec.Cmd
	out *json.Decoder
	log bytes.Buffer
}

// spawn runs a plan in the rig's folder. The rig's own node must be closed.
func (r *rig) spawn(t *testing.T, p plan) *nodeProcess {
	t.Helper()
	p.Dir = r.dir
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	n := &nodeProcess{t: t, cmd: exec.Command("/proc/self/exe")}
	n.cmd.Env = append(os.Environ(), nodeEnv+"="+string(text))
	n.cmd.Stderr = &n.log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.out = json.NewDecoder(out)
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *nodeProcess) running() (all []runtime.Running) {
	n.t.Helper()
	if err := n.out.Decode(&all); err != nil {
		n.t.Fatalf("%v: %s", err, n.log.String())
	}
	return all
}

// kill kills the process, or waits until it has killed itself.
func (n *nodeProcess) kill(itself bool) {
	n.t.Helper()
	if !itself {
		if err := n.cmd.Process.Kill(); err != nil {
			n.t.Fatal(err)
		}
	}
	err := n.cmd.Wait()
	if s, ok := n.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != unix.SIGKILL {
		n.t.Fatalf("node: %v: %s", err, n.log.String())
	}
}

func plans(all ...runtime.Container) (p []planned) {
	for _, c := range all {
		p = append(p, planned{Container: c})
	}
	return p
}

func (r *rig) close() {
	r.t.Helper()
	if err := r.engine.Close(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func TestAdoption(t *testing.T) {
	r := newRig(t)
	stays, ends, eats := r.container(), r.container("sleep", "300ms"), r.container("sleep", "1h")
	alone := r.container()
	alone.Shim, alone.Tenant = "other", 4
	alone.Image = r.load(func(c *v1.Config) { c.StopSignal = "SIGUSR1" })
	r.close()
	n := r.spawn(t, plan{Start: plans(stays, ends, eats, alone)})
	before := map[string]runtime.Running{}
	for _, c := range n.running() {
		before[c.ID] = c
	}
	n.kill(false)
	kill(t, before[eats.ID].PID) // while micro is down; the other one ends by itself
	awaitEnd(t, before[ends.ID].PID)

	r.open()
	all, err := r.List(t.Context())
	if err != nil || len(all) != 4 {
		t.Fatalf("list: %+v, %v", all, err)
	}
	for _, c := range all {
		b := before[c.ID]
		if c.PID != b.PID || c.IP != b.IP || !c.Started.Equal(b.Started) || c.Labels["app"] != "shop" {
			t.Errorf("was %+v, is %+v", b, c)
		}
	}
	for id, code := range map[string]int{ends.ID: 0, eats.ID: 137} {
		x, err := r.Wait(t.Context(), id)
		if err != nil || x.Code != code || x.Lost || time.Since(x.At) > time.Minute {
			t.Errorf("exit of %s: %+v, %v", id, x, err)
		}
	}
	for _, c := range []runtime.Container{stays, alone} {
		r.ask(before[c.ID].IP, 80)
		if code, err := r.Exec(t.Context(), c.ID, runtime.Command{Args: []string{"/probe", "exit", "5"}}); code != 5 || err != nil {
			t.Errorf("exec: %d, %v", code, err)
		}
	}
	// The adopted shim accepts more containers of its release, and they get new addresses.
	more := r.start(r.container())
	if more.IP == before[stays.ID].IP || more.IP == before[alone.ID].IP {
		t.Errorf("address %s is given out twice", more.IP)
	}
	r.ask(more.IP, 80)
	if err := r.Stop(t.Context(), stays.ID); err != nil {
		t.Fatal(err)
	}
	if x, err := r.Wait(t.Context(), stays.ID); err != nil || x.Code != 0 {
		t.Errorf("exit: %+v, %v", x, err)
	}
	if got := r.printed(stays); got != "serving\nstopping\n" {
		t.Errorf("log: %q", got)
	}
	// The stop signal is the image's, also after a restart.
	if err := r.Stop(t.Context(), alone.ID); err != nil {
		t.Fatal(err)
	}
	if x, err := r.Wait(t.Context(), alone.ID); err != nil || x.Code != 0 {
		t.Errorf("exit: %+v, %v", x, err)
	}
	if got := r.printed(alone); got != "serving\nuser defined signal 1\nstopping\n" {
		t.Errorf("log: %q", got)
	}
}

func kill(t *testing.T, pid uint32) {
	t.Helper()
	if err := unix.Kill(int(pid), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, pid)
}

// awaitEnd waits until a process has ended and its shim has recorded that.
func awaitEnd(t *testing.T, pid uint32) {
	t.Helper()
	for range 6000 {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/stat")
		if err != nil || bytes.Contains(b, []byte(") Z ")) {
			time.Sleep(200 * time.Millisecond)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("process %d has not ended", pid)
}

func TestShimKilled(t *testing.T) {
	r := newRig(t)
	a, b := r.container(), r.container()
	b.Shim = "b"
	pid := r.start(a).PID
	other := r.start(b)
	kill(t, parent(t, pid))
	x, err := r.Wait(t.Context(), a.ID)
	if err != nil || !x.Lost || x.Code != 137 {
		t.Errorf("exit: %+v, %v", x, err)
	}
	all, err := r.List(t.Context())
	if err != nil || len(all) != 2 || all[0].Exit == nil || all[1].Exit != nil || all[1].PID != other.PID {
		t.Errorf("list: %+v, %v", all, err)
	}
	if err := r.Driver.Remove(t.Context(), a.ID); err != nil {
		t.Error(err)
	}
	again := r.start(r.container()) // of the release whose shim was killed
	r.ask(again.IP, 80)
}

func parent(t *testing.T, pid uint32) uint32 {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	ppid, err := strconv.Atoi(strings.Fields(rest)[1])
	if err != nil {
		t.Fatal(err)
	}
	return uint32(ppid)
}

func TestReboot(t *testing.T) {
	r := newRig(t)
	c := r.container()
	r.close()
	n := r.spawn(t, plan{Start: plans(c)})
	pid := n.running()[0].PID
	n.kill(false)
	shim := parent(t, pid)
	kill(t, shim)
	kill(t, pid)
	// After a reboot there is no state, no network and no cgroup, and the boot ID is new.
	h, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		r.net.Destroy(), cgroup{h, cgroupPath(engine.StateDir(r.dir), "")}.remove(), unmountAll(engine.StateDir(r.dir)), engine.RemoveState(engine.StateDir(r.dir)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	fake := filepath.Join(r.dir, "boot_id")
	if err := os.WriteFile(fake, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const real = "/proc/sys/kernel/random/boot_id"
	if err := unix.Mount(fake, real, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	r.open()
	if err := unix.Unmount(real, 0); err != nil {
		t.Fatal(err)
	}
	all, err := r.List(t.Context())
	if err != nil || len(all) != 1 || all[0].Exit == nil || !all[0].Exit.Lost || !strings.Contains(all[0].Exit.Reason, "restarted") {
		t.Fatalf("list: %+v, %v", all, err)
	}
	if err := r.Driver.Remove(t.Context(), c.ID); err != nil {
		t.Error(err)
	}
	r.ask(r.start(r.container()).IP, 80)
}

func unmountAll(below string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], below+"/") {
			if err := unix.Unmount(f[4], unix.MNT_DETACH); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestKillAtEachStep kills the process between any two steps of Start or Remove: the container must be complete or gone.
func TestKilledAnywhere(t *testing.T) {
	r := newRig(t)
	other := r.container()
	r.close()
	n := r.spawn(t, plan{Start: plans(other)})
	pid := n.running()[0].PID
	n.kill(false)
	for _, step := range []string{
		"record", "parts", "task", "start",
		"remove task", "remove cgroup", "remove network", "remove snapshot", "remove files",
	} {
		c := r.container()
		p := plan{Start: plans(c), Die: step}
		if strings.HasPrefix(step, "remove") {
			p.Remove = []string{c.ID}
		}
		r.spawn(t, p).kill(true)
		r.open()
		all, err := r.List(t.Context())
		if err != nil {
			t.Fatalf("killed at %q: %v", step, err)
		}
		whole := 1
		if step == "start" {
			whole = 2 // complete except for started.json
		}
		if len(all) != whole || all[0].ID != other.ID || all[0].PID != pid {
			t.Errorf("killed at %q: %+v", step, all)
		}
		for _, a := range all {
			r.ask(a.IP, 80)
			if a.ID != other.ID {
				if err := r.Driver.Remove(t.Context(), a.ID); err != nil {
					t.Error(err)
				}
			}
		}
		r.close()
	}
	r.open()
}

// TestKillAtRandom kills the process at random moments: containers must be complete or gone.
func TestKilledAnytime(t *testing.T) {
	r := newRig(t)
	r.close()
	for range 8 {
		p := plan{}
		for range 3 {
			c := r.container()
			p.Start = append(p.Start, plans(c)...)
			if len(p.Start) == 2 {
				p.Remove = append(p.Remove, c.ID)
			}
		}
		n := r.spawn(t, p)
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		n.kill(false)
		r.open()
		all, err := r.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			if a.Exit == nil {
				r.ask(a.IP, 80)
			} else {
				t.Errorf("ended: %+v", a.Exit)
			}
			if err := r.Driver.Remove(t.Context(), a.ID); err != nil {
				t.Error(err)
			}
		}
		r.bare()
		r.close()
	}
	r.open()
}

// TestErrorAtEachStep makes each step of Start fail: nothing may be left.
func TestFailsAnywhere(t *testing.T) {
	r := newRig(t)
	for _, step := range []string{"record", "parts", "task", "start"} {
		r.step = func(name string) error {
			if name == step {
				return os.ErrDeadlineExceeded
			}
			return nil
		}
		if _, err := r.Start(t.Context(), r.container()); err == nil {
			t.Errorf("no error at %q", step)
		}
		r.bare()
	}
	r.step = func(string) error { return nil }
}

func TestParallelStarts(t *testing.T) {
	r := newRig(t)
	var wg sync.WaitGroup
	for i := range 20 {
		c := r.container()
		c.Tenant, c.Shim = uint32(i%3), "group"+strconv.Itoa(i%4)
		wg.Go(func() {
			running, err := r.Start(t.Context(), c)
			if err != nil {
				t.Error(err)
				return
			}
			r.ask(running.IP, 80)
		})
	}
	wg.Wait()
	all, err := r.List(t.Context())
	if err != nil || len(all) != 20 {
		t.Errorf("list: %d, %v", len(all), err)
	}
	for _, c := range all {
		wg.Go(func() {
			if err := r.Driver.Remove(t.Context(), c.ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
