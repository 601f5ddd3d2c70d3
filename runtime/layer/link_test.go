package layer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

func bind(dir string) []mount.Mount {
	return []mount.Mount{{Type: "bind", Source: dir, Options: []string{"rbind", "rw"}}}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A linked layer has the same files, folders with their owner, bits and time, and marks of what is deleted below.
func TestLink(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	in := func(name string) string { return filepath.Join(from, name) }
	at := time.Unix(1_700_000_000, 0)
	check(t, os.MkdirAll(in("d/e"), 0o750), os.WriteFile(in("d/e/f"), []byte("x"), 0o4755), os.Link(in("d/e/f"), in("d/g")),
		os.Symlink("/nowhere", in("l")), unix.Mknod(in("gone"), unix.S_IFCHR, 0), unix.Mkfifo(in("p"), 0o600),
		os.Lchown(in("d"), 33, 44), unix.Chmod(in("d"), 0o2711),
		unix.Lsetxattr(in("d/e"), opaque, []byte("y"), 0), os.Chtimes(in("d/e"), at, at), os.Chtimes(in("d"), at, at))
	if err := Link(t.Context(), bind(from), bind(to)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d", "d/e", "d/e/f", "d/g", "l", "gone", "p"} {
		var a, b unix.Stat_t
		check(t, unix.Lstat(in(name), &a), unix.Lstat(filepath.Join(to, name), &b))
		if dir := a.Mode&unix.S_IFMT == unix.S_IFDIR; dir == (a.Ino == b.Ino) {
			t.Errorf("%s: inodes %d and %d", name, a.Ino, b.Ino)
		}
		if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Mtim != b.Mtim || a.Rdev != b.Rdev {
			t.Errorf("%s: %+v, want %+v", name, b, a)
		}
	}
	value := make([]byte, 8)
	if n, err := unix.Lgetxattr(filepath.Join(to, "d/e"), opaque, value); err != nil || string(value[:n]) != "y" {
		t.Errorf("the folder hides what is below: %q, %v", value[:n], err)
	}
}

// What an archive would unpack to something else is not linked, and nothing of it is left.
func TestLinkRefuses(t *testing.T) {
	for what, spoil := range map[string]func(dir string) error{
		"a foreign owner": func(dir string) error { return os.Lchown(filepath.Join(dir, "a/b"), 200_000, 0) },
		"a device":        func(dir string) error { return unix.Mknod(filepath.Join(dir, "z"), unix.S_IFCHR, 5) },
		"a block device":  func(dir string) error { return unix.Mknod(filepath.Join(dir, "z"), unix.S_IFBLK, 0) },
		"content elsewhere": func(dir string) error {
			return unix.Lsetxattr(filepath.Join(dir, "a/b"), metacopy, nil, 0)
		},
	} {
		from, to := t.TempDir(), t.TempDir()
		check(t, os.Mkdir(filepath.Join(from, "a"), 0o755), os.WriteFile(filepath.Join(from, "a/b"), nil, 0o644), spoil(from))
		if err := Link(t.Context(), bind(from), bind(to)); !errors.Is(err, ErrNotLinked) {
			t.Errorf("%s: %v", what, err)
		}
		if left, err := os.ReadDir(to); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", what, left, err)
		}
	}
	layered := []mount.Mount{{Type: "overlay", Options: []string{"lowerdir=/a:/b"}}}
	if err := Link(t.Context(), layered, bind(t.TempDir())); !errors.Is(err, ErrNotLinked) {
		t.Errorf("other layers below: %v", err)
	}
}
