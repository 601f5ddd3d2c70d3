package build_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/network"
)

// start builds what runs for long, and returns when its last step does.
func (r *rig) start(t *testing.T, ctx context.Context) <-chan error {
	t.Helper()
	src := r.source(t, map[string]string{"Dockerfile": base + "RUN echo started && sleep 60s\n"})
	running, done := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		_, err := r.Build(ctx, runtime.Build{Name: "slow", Source: src, Progress: func(p runtime.Progress) {
			if strings.Contains(string(p.Log), "started") {
				once.Do(func() { close(running) })
			}
		}})
		done <- err
	}()
	select {
	case <-running:
	case err := <-done:
		t.Fatal("ended before it ran:", err)
	}
	return done
}

func TestProcessKilled(t *testing.T) {
	r := newRig(t, nil)
	done := r.start(t, t.Context())
	pid, err := strconv.Atoi(r.process(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-done, cloud.DeployFailed, "killed")
	if pids := r.steps(t); len(pids) > 0 {
		t.Errorf("steps outlived the process: %v", pids)
	}
	if _, _, err := r.build(t, base+"RUN true\n"); err != nil {
		t.Fatal("the next build:", err)
	}
	r.assertClean(t)
}

func TestCancelled(t *testing.T) {
	r := newRig(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := r.start(t, ctx)
	cancel()
	wantError(t, <-done, cloud.Interrupted)
	eventually(t, "the step's process ends", func() bool { return len(r.steps(t)) == 0 })
	if _, _, err := r.build(t, base+"RUN true\n"); err != nil {
		t.Fatal("the next build:", err)
	}
	r.assertClean(t)
}

func TestIdleProcessEnds(t *testing.T) {
	r := newRig(t, func(c *build.Config) { c.IdleTimeout = 50 * time.Millisecond })
	for range 2 {
		if _, _, err := r.build(t, base+"RUN true\n"); err != nil {
			t.Fatal(err)
		}
		if r.process(t) == "" {
			t.Fatal("no process")
		}
		eventually(t, "the process ends", func() bool { return r.process(t) == "" })
		r.assertClean(t)
	}
}

func TestParallelBuilds(t *testing.T) {
	r := newRig(t, nil)
	var all sync.WaitGroup
	for _, n := range []string{"a", "b", "c"} {
		all.Go(func() {
			img, log, err := r.build(t, base+"RUN sleep 200ms && echo built "+n+"\nLABEL n="+n+"\n")
			if err != nil || img.Labels["n"] != n || !strings.Contains(log, "built "+n) {
				t.Errorf("%s: %+v %q %v", n, img, log, err)
			}
		})
	}
	all.Wait()
	r.assertClean(t)
}

func TestLimits(t *testing.T) {
	r := newRig(t, func(c *build.Config) { c.Limits = build.Limits{Memory: 128 << 20, Pids: 40, Time: 20 * time.Second} })
	_, _, err := r.build(t, base+"RUN eat 400\n")
	wantError(t, err, cloud.DeployFailed, "RUN eat 400", "memory")
	_, _, err = r.build(t, base+"RUN fork 60\n")
	wantError(t, err, cloud.DeployFailed, "RUN fork 60", "resource temporarily unavailable")
	start := time.Now()
	_, _, err = r.build(t, base+"RUN sleep 60s\n")
	wantError(t, err, cloud.DeployFailed, "not finished after 20s")
	if d := time.Since(start); d > 50*time.Second {
		t.Errorf("took %v", d)
	}
	_, log, err := r.build(t, base+"RUN cat /proc/self/oom_score_adj && cat /proc/self/status\n")
	if err != nil {
		t.Fatal("the next build:", err)
	}
	for _, want := range []string{fmt.Sprintln(build.OOMScore), "Seccomp:\t2"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q: %s", want, log)
		}
	}
}

func TestDiskFull(t *testing.T) {
	root := t.TempDir()
	if err := unix.Mount("micro", root, "tmpfs", 0, "size=256m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	})
	r := newRigIn(t, root, func(c *build.Config) { c.Limits.Free = 128 << 20 })
	_, _, err := r.build(t, base+"RUN fill /big 160 && sleep 5s\n")
	wantError(t, err, cloud.Unavailable, "disk", "full")
	eventually(t, "the space comes free", func() bool {
		var fs unix.Statfs_t
		return unix.Statfs(root, &fs) == nil && int64(fs.Bavail)*fs.Bsize > 192<<20
	})
	if _, _, err := r.build(t, base+"RUN true\n"); err != nil {
		t.Fatal("the next build:", err)
	}
	// A step's own small disk is the step's affair, and it is told so.
	_, _, err = r.build(t, base+"RUN --mount=type=tmpfs,target=/t,size=4m fill /t/big 8\n")
	wantError(t, err, cloud.DeployFailed, "no space left")
}

// Without networks of the node's, a step has loopback alone, and not the host's.
func TestNoNetwork(t *testing.T) {
	r := newRig(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, log, err := r.build(t, base+"RUN ifs && dial "+l.Addr().String()+"\n")
	wantError(t, err, cloud.DeployFailed, "connection refused")
	if strings.Count(log, "interface") != 1 || !strings.Contains(log, "interface lo") {
		t.Errorf("%q", log)
	}
}

// A step's network is one that the node made, and goes with the step.
func TestSandbox(t *testing.T) {
	var mu sync.Mutex
	var made, removed []string
	ids := []syscall.SysProcIDMap{{HostID: network.SandboxBase, Size: network.Range}}
	stand := exec.CommandContext(t.Context(), "sleep", "60") // for the node's sandbox
	stand.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, UidMappings: ids, GidMappings: ids}
	if err := stand.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stand.Process.Kill(); stand.Wait() })
	namespaces := fmt.Sprintf("/proc/%d/ns/", stand.Process.Pid)
	r := newRig(t, func(c *build.Config) {
		c.Sandbox = func(_ context.Context, id string) (string, string, func() error, error) {
			mu.Lock()
			defer mu.Unlock()
			made = append(made, id)
			return namespaces + "net", namespaces + "user", func() error {
				mu.Lock()
				defer mu.Unlock()
				removed = append(removed, id)
				return nil
			}, nil
		}
	})
	_, log, err := r.build(t, base+"RUN namespaces && cat /proc/self/uid_map && cat /proc/self/gid_map && own 7 8 /x && owner /x\n")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(log, "0 4294836224      65536") != 2 || !strings.Contains(log, "/x 7:8") {
		t.Error(log)
	}
	for _, ns := range []string{"net", "user"} {
		want, err := os.Readlink(namespaces + ns)
		if err != nil || !strings.Contains(log, want) {
			t.Errorf("the step is not in %s, %v: %s", want, err, log)
		}
	}
	eventually(t, "the step's network is removed", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(made) == 2 && len(removed) == 1 // the process has the other
	})
	done := r.start(t, t.Context())
	pid, err := strconv.Atoi(r.process(t))
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGKILL)
	<-done
	eventually(t, "networks of a killed process are removed", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(made) == len(removed)
	})
}

// When the node is killed, the build process and its steps go too, and the next node starts anew.
func TestNodeKilled(t *testing.T) {
	if os.Getenv(nodeEnv) != "" {
		r := newRig(t, nil)
		r.start(t, t.Context())
		fmt.Println("state", r.cfg.State, r.cfg.Cgroup)
		select {}
	}
	node := exec.Command(os.Args[0], "-test.run", "^TestNodeKilled$", "-test.v")
	node.Env = append(os.Environ(), nodeEnv+"=1", "TMPDIR="+t.TempDir())
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	var state, cgroup string
	for lines := bufio.NewScanner(out); state == "" && lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[0] == "state" {
			state, cgroup = f[1], f[2]
		}
	}
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	node.Wait()
	t.Cleanup(func() {
		unix.Unmount(filepath.Dir(state), unix.MNT_DETACH)
		os.RemoveAll(filepath.Dir(state))
	})
	gone := &rig{cfg: build.Config{Cgroup: cgroup}}
	eventually(t, "the process and its steps end", func() bool { return gone.process(t) == "" && len(gone.steps(t)) == 0 })
	r := newRig(t, func(c *build.Config) { c.Cgroup = cgroup })
	if _, _, err := r.build(t, base+"RUN true\n"); err != nil {
		t.Fatal("the next node's build:", err)
	}
}

const nodeEnv = "MICRO_TEST_NODE"
