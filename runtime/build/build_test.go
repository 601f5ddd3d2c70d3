package build_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/build/child"
	"github.com/protoduction/micro/runtime/ctrd"
)

// The build process is this test binary run again.
func TestMain(m *testing.M) {
	if code, ours := child.Main(os.Args); ours {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

type rig struct {
	*build.Builder
	images *ctrd.Images
	cfg    build.Config
	sh     string
}

func newRig(t *testing.T, change func(*build.Config)) *rig {
	t.Helper()
	root := t.TempDir()
	state, err := os.MkdirTemp("/run", "mb")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	log := slog.New(slog.NewTextHandler(writer{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	engine, err := ctrd.Open(ctx, ctrd.Config{Root: filepath.Join(root, "c"), State: state, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	images, err := engine.Images(ctx, ctrd.ImagesConfig{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := build.Config{
		Root: filepath.Join(root, "b"), State: filepath.Join(state, "b"), Cgroup: fmt.Sprintf("/microtest-%d", os.Getpid()),
		Containerd: engine.Socket, Namespace: engine.Namespace(), Snapshotter: ctrd.Snapshotter,
		ImageName: ctrd.ImageName, Images: images, Runc: runc(t), Logger: log,
	}
	if change != nil {
		change(&cfg)
	}
	b, err := build.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := engine.Close(context.Background()); err != nil {
			t.Error(err)
		}
		unix.Unmount(state, unix.MNT_DETACH) // EINVAL where /run is in memory itself
		if err := os.RemoveAll(state); err != nil {
			t.Error(err)
		}
	})
	return &rig{Builder: b, images: images, cfg: cfg, sh: shell(t)}
}

type writer struct{ t *testing.T }

func (w writer) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func runc(t *testing.T) string {
	if p := os.Getenv("MICRO_RUNC"); p != "" {
		return p
	}
	p, err := exec.LookPath("runc")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// shell builds the tests' shell.
func shell(t *testing.T) string {
	t.Helper()
	out := filepath.Join(os.TempDir(), fmt.Sprintf("micro-test-sh-%d", os.Getpid()))
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
func (r *rig) source(t *testing.T, files map[string]string) string {
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

func TestBuild(t *testing.T) {
	r := newRig(t, nil)
	src := r.source(t, map[string]string{"Dockerfile": base + "RUN echo hello from the step\nCMD [\"/bin/sh\"]\nEXPOSE 8080\n"})
	var out output
	start := time.Now()
	img, err := r.Build(t.Context(), runtime.Build{Name: "shop", Source: src, Progress: out.add})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v: %+v\n%s", time.Since(start), img, out.log.String())
	start = time.Now()
	again, err := r.Build(t.Context(), runtime.Build{Name: "shop", Source: src, Progress: out.add})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("again %v: %s", time.Since(start), again.Digest)
}
