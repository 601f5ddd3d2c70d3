package ctrd

import (
	"os"
	"testing"

	"github.com/containerd/containerd/v2/client"
)

// open starts an Engine in folders of its own and closes it with the test.
func open(t *testing.T) *Engine {
	t.Helper()
	root, err := os.MkdirTemp("/tmp", "ctrd")
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
	e, err := Open(t.Context(), Config{Root: root, State: state, Logger: testLogger(t)})
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
