package overlay

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// stack makes n layers, called as a snapshotter of a node that has made many snapshots calls them. Each adds a
// file and writes the file "last" anew, and each tenth deletes the file of the layer below it.
func stack(t *testing.T, n int) (layers []string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "a", "long", "way", "to", "snapshots")
	for i := range n {
		dir := filepath.Join(root, fmt.Sprint(1_600_000+i), "fs")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{fmt.Sprintf("f%d", i): fmt.Sprintf("of layer %d", i), "last": fmt.Sprint(i)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if i%10 == 9 {
			if err := unix.Mknod(filepath.Join(dir, fmt.Sprintf("f%d", i-1)), unix.S_IFCHR, 0); err != nil {
				t.Fatal(err)
			}
		}
		layers = append([]string{dir}, layers...)
	}
	return layers
}

// check compares all files of a mount of such layers, their content included.
func check(t *testing.T, at string, n int) {
	t.Helper()
	found, err := os.ReadDir(at)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"last": fmt.Sprint(n - 1)}
	for i := range n {
		if i%10 != 8 || i == n-1 {
			want[fmt.Sprintf("f%d", i)] = fmt.Sprintf("of layer %d", i)
		}
	}
	for _, f := range found {
		text, err := os.ReadFile(filepath.Join(at, f.Name()))
		if w, ok := want[f.Name()]; err != nil || !ok || string(text) != w {
			t.Errorf("%s has %q, %v; want %q, %v", f.Name(), text, err, w, ok)
		}
		delete(want, f.Name())
	}
	if len(want) > 0 {
		t.Errorf("files are missing: %v", want)
	}
}

func lower(layers []string, more ...string) mount.Mount {
	return mount.Mount{Type: "overlay", Source: "overlay", Options: append(more, "lowerdir="+strings.Join(layers, ":"))}
}

func TestMount(t *testing.T) {
	all := stack(t, MaxLayers)
	for _, n := range []int{2, 149, 150, 300, 499, 500} {
		layers := all[len(all)-n:]
		for _, how := range []string{"read", "write", "mapped"} {
			t.Run(fmt.Sprintf("%d layers %s", n, how), func(t *testing.T) {
				at, upper, work := t.TempDir(), t.TempDir(), t.TempDir()
				m := lower(layers, "nosuid", "nodev")
				if how != "read" {
					m.Options = append(m.Options, "index=off", "upperdir="+upper, "workdir="+work)
				}
				if how == "mapped" {
					m.Options = append(m.Options, "uidmap=0:1000000:65536", "gidmap=0:1000000:65536")
				}
				temp := t.TempDir()
				if err := Mount(m, at, Caller{Temp: temp}); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := unix.Unmount(at, 0); err != nil {
						t.Error(err)
					}
				})
				check(t, at, n)
				var fs unix.Statfs_t
				var owner unix.Stat_t
				if err := unix.Statfs(at, &fs); err != nil || fs.Flags&unix.ST_NOSUID == 0 || fs.Flags&unix.ST_NODEV == 0 {
					t.Errorf("flags %#x, %v", fs.Flags, err)
				}
				if err := unix.Stat(filepath.Join(at, "last"), &owner); err != nil || owner.Uid != map[bool]uint32{true: 1000000}[how == "mapped"] {
					t.Errorf("owner %d, %v", owner.Uid, err)
				}
				if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
					t.Errorf("left: %v, %v", left, err)
				}
				if how == "write" {
					if err := os.WriteFile(filepath.Join(at, "f1"), []byte("new"), 0o600); err != nil {
						t.Error(err)
					}
					if text, _ := os.ReadFile(filepath.Join(upper, "f1")); string(text) != "new" {
						t.Errorf("the upper layer has %q", text)
					}
				}
			})
		}
	}
}

func TestMountRefuses(t *testing.T) {
	layers := stack(t, 501)
	if err := Mount(lower(layers), t.TempDir(), Caller{}); err == nil || !strings.Contains(err.Error(), "501 layers: the kernel stacks 500") {
		t.Error(err)
	}
	gone := append([]string{filepath.Join(t.TempDir(), "gone")}, layers[:3]...)
	if err := Mount(lower(gone), t.TempDir(), Caller{}); err == nil || !strings.Contains(err.Error(), gone[0]) {
		t.Error(err)
	}
}

// Whatever is said to fit into containerd's mounting has all of its files there.
func TestFits(t *testing.T) {
	fitting, all := 0, stack(t, 500)
	for n := 500; n > 1; n -= 20 {
		m := lower(all[len(all)-n:], "index=off", "upperdir="+t.TempDir(), "workdir="+t.TempDir())
		if !Fits(m) {
			continue
		}
		if fitting == 0 {
			fitting = n
		}
		at := t.TempDir()
		if err := m.Mount(at); err != nil {
			t.Fatal(err)
		}
		check(t, at, n)
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
		break
	}
	if fitting < 200 || fitting > 400 {
		t.Errorf("the most that fits is %d layers", fitting)
	}
	if !Fits(mount.Mount{Type: "bind", Source: "/x"}) {
		t.Error("a bind mount does not fit")
	}
}
