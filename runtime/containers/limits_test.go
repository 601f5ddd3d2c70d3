package containers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

func TestPrepareNeedsEveryController(t *testing.T) {
	dir := t.TempDir()
	for _, missing := range append([]string{""}, limiting...) {
		g := cgroup{map[string]hierarchy{}, "/micro/n"}
		for _, c := range limiting {
			if c != missing {
				g.at[c] = hierarchy{mount: dir}
			}
		}
		err := g.prepare()
		if (err != nil) != (missing != "") || err != nil && (cloud.CodeOf(err) != cloud.Unavailable || !strings.Contains(err.Error(), missing)) {
			t.Errorf("without %q: %v", missing, err)
		}
	}
}

// TestPrepare uses a normal folder as cgroup file system: every level must get each controller.
func TestPrepareHandsDown(t *testing.T) {
	dir := t.TempDir()
	below := filepath.Join(dir, "micro", "n")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	levels := []string{dir, filepath.Dir(below), below}
	for _, level := range levels {
		if err := os.WriteFile(filepath.Join(level, "cgroup.subtree_control"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range limiting {
		g := cgroup{map[string]hierarchy{}, "/micro/n"}
		for _, other := range limiting {
			g.at[other] = hierarchy{mount: dir, v2: other == c}
		}
		if err := g.prepare(); err != nil {
			t.Fatal(err)
		}
		for _, level := range levels {
			if b, err := os.ReadFile(filepath.Join(level, "cgroup.subtree_control")); string(b) != "+"+c {
				t.Errorf("%s: %q, %v", level, b, err)
			}
		}
	}
}

// TestPrepareRefused uses the kernel's cgroups: a cgroup without controllers refuses to enable them.
func TestPrepareOnBareHierarchy(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("none", mount, "cgroup2", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(mount, 0)
	b, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("microprepare-%d", os.Getpid())
	g := cgroup{map[string]hierarchy{}, "/" + name + "/n"}
	for _, c := range limiting {
		g.at[c] = hierarchy{mount: mount, v2: true}
	}
	has := true
	for _, c := range limiting {
		has = has && slices.Contains(strings.Fields(string(b)), c)
	}
	err = g.prepare()
	if (err == nil) != has {
		t.Errorf("with controllers %q: %v", b, err)
	}
	if err := removeCgroup(filepath.Join(mount, name)); err != nil {
		t.Error(err)
	}
}

func TestUnlimitedSaysWhy(t *testing.T) {
	f := func(cause error, want, hint string) {
		t.Helper()
		err := unlimited("memory", "/sys/fs/cgroup", cause)
		var e *cloud.Error
		if !errors.As(err, &e) || e.Code != cloud.Unavailable || !strings.Contains(err.Error(), want) || !strings.Contains(e.Hint, hint) {
			t.Errorf("%v: %v", cause, err)
		}
	}
	f(unix.EBUSY, "/sys/fs/cgroup has processes of its own", "--cgroupns=host")
	f(fs.ErrNotExist, "no cgroup controller of memory: /sys/fs/cgroup was given none", "cgroup_disable=memory")
	f(unix.EINVAL, "was given none", "cgroup_disable=memory")
	f(unix.EROFS, "read-only", "")
}
