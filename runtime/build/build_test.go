package build_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/build/child"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/images"
)

// The build process is this test binary run again.
func TestMain(m *testing.M) {
	if code, ours := child.Main(os.Args); ours {
		os.Exit(code)
	}
	code := m.Run()
	os.Remove(shellPath())
	os.Exit(code)
}

func shellPath() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("micro-test-sh-%d", os.Getpid()))
}

type rig struct {
	*build.Builder
	images *images.Store
	engine *engine.Engine
	cfg    build.Config
	sh     string
}

// rigs counts them: each has a name of its own on the machine.
var rigs atomic.Int32

func newRig(t testing.TB, change func(*build.Config)) *rig {
	t.Helper()
	return newRigIn(t, t.TempDir(), change)
}

func newRigIn(t testing.TB, root string, change func(*build.Config)) *rig {
	t.Helper()
	state, err := os.MkdirTemp("/run", "mb")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	log := slog.New(slog.NewTextHandler(writer{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	containerd, err := engine.Open(ctx, engine.Config{Root: filepath.Join(root, "c"), State: state, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	store, err := images.Open(ctx, images.Config{Engine: containerd})
	if err != nil {
		t.Fatal(err)
	}
	cfg := build.Config{
		Root: filepath.Join(root, "b"), State: filepath.Join(state, "b"), Cgroup: fmt.Sprintf("/microtest-%d-%d", os.Getpid(), rigs.Add(1)),
		Containerd: containerd.Socket, Namespace: containerd.Namespace(), Snapshotter: engine.Snapshotter, Snapshots: containerd.Snapshots(),
		ImageName: images.Name, Images: store, Runc: runc(t), Logger: log,
	}
	if change != nil {
		change(&cfg)
	}
	b, err := build.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := containerd.Close(context.Background()); err != nil {
			t.Error(err)
		}
		unix.Unmount(state, unix.MNT_DETACH) // EINVAL where /run is in memory itself
		if err := os.RemoveAll(state); err != nil {
			t.Error(err)
		}
	})
	return &rig{Builder: b, images: store, engine: containerd, cfg: cfg, sh: shell(t)}
}

type writer struct{ t testing.TB }

func (w writer) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func runc(t testing.TB) string {
	if p, err := filepath.Abs("../engine/helpers/bin/runc"); err == nil {
		if _, err := os.Stat(p); err == nil {
			return p // what a release binary carries
		}
	}
	p, err := exec.LookPath("runc")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// shell builds the tests' shell.
func shell(t testing.TB) string {
	t.Helper()
	out := shellPath()
	if _, err := os.Stat(out); err == nil {
		return out
	}
	cmd := exec.Command("go", "build", "-o", out, "./testdata/sh")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the shell: %v\n%s", err, b)
	}
	return out
}

// source makes a folder with the shell and these files.
func (r *rig) source(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	b, err := os.ReadFile(r.sh)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sh"), b, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// build builds a folder with this Dockerfile and these files.
func (r *rig) build(t *testing.T, dockerfile string, files ...string) (runtime.Image, string, error) {
	t.Helper()
	all := map[string]string{"Dockerfile": dockerfile}
	for i := 0; i+1 < len(files); i += 2 {
		all[files[i]] = files[i+1]
	}
	var out output
	img, err := r.Build(t.Context(), runtime.Build{Name: "shop", Source: r.source(t, all), Progress: out.add})
	return img, out.log.String(), err
}

func wantError(t *testing.T, err error, code cloud.Code, parts ...string) {
	t.Helper()
	if cloud.CodeOf(err) != code {
		t.Fatalf("code %q, want %q: %v", cloud.CodeOf(err), code, err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q lacks %q", err, p)
		}
	}
	if cloud.HintOf(err) == "" && code != cloud.Interrupted {
		t.Errorf("%q has no hint", err)
	}
}

// assertClean checks that builds have left no lease and no process.
func (r *rig) assertClean(t *testing.T) {
	t.Helper()
	found, err := r.engine.Client().LeasesService().List(r.engine.Context(t.Context()), `labels."buildkit/lease.temporary"`)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range found {
		_, expires := l.Labels["containerd.io/gc.expire"]
		if (expires || strings.HasSuffix(l.ID, "-view")) && r.process(t) != "" {
			continue // of a base image's config or a source folder, kept for the next build of it
		}
		t.Errorf("lease %v is left", l)
	}
	if pids := r.steps(t); len(pids) > 0 {
		t.Errorf("processes of steps are left: %v", pids)
	}
}

// steps are the processes of running steps.
func (r *rig) steps(t *testing.T) []string {
	t.Helper()
	var pids []string
	for _, root := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} { // v1, v2
		filepath.WalkDir(filepath.Join(root, r.cfg.Cgroup, "steps"), func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Name() == "cgroup.procs" {
				b, _ := os.ReadFile(path)
				pids = append(pids, strings.Fields(string(b))...)
			}
			return nil
		})
	}
	return pids
}

// process is the build process's id, "" where there is none.
func (r *rig) process(t *testing.T) string {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		if b, err := os.ReadFile(filepath.Join(root, r.cfg.Cgroup, "process", "cgroup.procs")); err == nil {
			pid, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
			return pid
		}
	}
	return ""
}

// eventually waits for what a process elsewhere does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

const base = "FROM scratch\nCOPY sh /bin/sh\n"

type output struct {
	steps map[string]runtime.Progress
	log   strings.Builder
}

func (o *output) add(p runtime.Progress) {
	if o.steps == nil {
		o.steps = map[string]runtime.Progress{}
	}
	o.steps[p.ID] = p
	o.log.Write(p.Log)
}
