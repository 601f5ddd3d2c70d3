package images

import (
	"os"
	"testing"

	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/hosttest"
)

func TestMain(m *testing.M) { hosttest.Main(m, nil) }

// openEngine starts containerd in folders of its own and closes it with the test.
func openEngine(t *testing.T) *engine.Engine {
	t.Helper()
	root, err := os.MkdirTemp("/tmp", "images")
	if err != nil {
		t.Fatal(err)
	}
	state := engine.StateDir(root)
	t.Cleanup(func() {
		if err := engine.RemoveState(state); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	e, err := engine.Open(t.Context(), engine.Config{Root: root, State: state, Logger: hosttest.Logger(t)})
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
