package engine

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/hosttest"
)

// open starts an Engine in folders of its own and closes it with the test.
func open(t *testing.T) *Engine {
	t.Helper()
	root, err := os.MkdirTemp("/tmp", "engine")
	if err != nil {
		t.Fatal(err)
	}
	state := StateDir(root)
	t.Cleanup(func() {
		if err := RemoveState(state); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	e, err := Open(t.Context(), Config{Root: root, State: state, Logger: hosttest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestSocketServesContainerd(t *testing.T) {
	e := open(t)
	path, err := e.Socket()
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("socket's mode: %v, %v", fi.Mode(), err)
	}
	c, err := client.New(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	images, err := c.ListImages(e.Context(t.Context()))
	if err != nil || len(images) != 0 {
		t.Fatalf("images: %v, %v", images, err)
	}
}

// strayMount leaves in a state folder what a shim that is killed while it mounts does: a mount of the
// layers on the disk. It returns a file of theirs and the mount's folder.
func strayMount(t *testing.T, state string) (layer, at string) {
	t.Helper()
	layers, at := t.TempDir(), filepath.Join(state, temporary, "ovl-idmapped1")
	layer = filepath.Join(layers, "layer")
	if err := os.WriteFile(layer, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(layers, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	return layer, at
}

// onlyMountIsGone checks that a folder is not there any more, and what was mounted in it is.
func onlyMountIsGone(t *testing.T, dir, layer string) {
	t.Helper()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", dir, err)
	}
	if _, err := os.Stat(layer); err != nil {
		t.Error(err)
	}
}

// The next start takes such mounts away, and nothing that is behind them.
func TestStrayMounts(t *testing.T) {
	root, err := os.MkdirTemp("/tmp", "engine")
	if err != nil {
		t.Fatal(err)
	}
	state := StateDir(root)
	if err := PrepareState(state); err != nil {
		t.Fatal(err)
	}
	layer, at := strayMount(t, state)
	e, err := Open(t.Context(), Config{Root: root, State: state, Logger: hosttest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := RemoveState(state); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	onlyMountIsGone(t, at, layer)
}

// Such mounts of shims that end while micro lives go too, those of a start under way do not.
func TestSweepTemporary(t *testing.T) {
	state := t.TempDir()
	layer, at := strayMount(t, state)
	young, err := sweepTemporary(state, nil)
	if err != nil || !young[filepath.Base(at)] {
		t.Fatalf("%v, %v", young, err)
	}
	if _, err := os.Stat(filepath.Join(at, "layer")); err != nil {
		t.Error("unmounted at once:", err)
	}
	if young, err := sweepTemporary(state, young); err != nil || len(young) > 0 {
		t.Errorf("%v, %v", young, err)
	}
	onlyMountIsGone(t, at, layer)
}

// Where /run is in memory itself, the state folder is no mount of its own: to remove it must not be to
// remove the layers that are mounted somewhere in it.
func TestRemoveStateKeepsLayers(t *testing.T) {
	run := t.TempDir()
	if err := unix.Mount("run", run, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(run, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	state := filepath.Join(run, "s")
	layer, _ := strayMount(t, state)
	if err := RemoveState(state); err != nil {
		t.Error(err)
	}
	onlyMountIsGone(t, state, layer)
}

// A node that is killed between making a snapshot's folder and recording it leaves the folder, under the
// number that the next snapshot gets: the first one of all, or a later one.
func TestStraySnapshots(t *testing.T) {
	root, err := os.MkdirTemp("/tmp", "engine")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Root: root, State: StateDir(root), Logger: hosttest.Logger(t)}
	t.Cleanup(func() {
		if err := errors.Join(RemoveState(cfg.State), os.RemoveAll(root)); err != nil {
			t.Error(err)
		}
	})
	for _, next := range []string{"1", "2"} {
		stray := filepath.Join(root, "io.containerd.snapshotter.v1."+Snapshotter, "snapshots", next)
		if err := os.MkdirAll(filepath.Join(stray, "work"), 0o700); err != nil {
			t.Fatal(err)
		}
		e, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Client().SnapshotService(Snapshotter).Prepare(e.Context(t.Context()), next, ""); err != nil {
			t.Error(err)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
