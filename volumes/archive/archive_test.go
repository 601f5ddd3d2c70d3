package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newFolder makes a folder with one file of each sort.
func newFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	old := time.Date(1969, 7, 20, 20, 17, 40, 123456789, time.UTC)
	do(os.WriteFile(at("plain"), []byte("kieselgur"), 0o640))
	do(os.Chown(at("plain"), 999, 70000))
	do(unix.Setxattr(at("plain"), "user.a=b%", []byte("x\x00y"), 0))
	do(os.WriteFile(at("setuid"), nil, 0o755))
	do(os.Truncate(at("setuid"), 8<<20)) // nothing but a hole
	do(os.Chown(at("setuid"), 3, 4))
	do(os.Chmod(at("setuid"), 0o755|os.ModeSetuid))
	// cap_net_bind_service, effective and permitted, in the second version of the format: capabilities(7).
	do(unix.Setxattr(at("setuid"), "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	do(os.MkdirAll(at("d/"+strings.Repeat("deep/", 60)), 0o755))
	do(os.WriteFile(at("d/"+strings.Repeat("deep/", 60)+"\xff\nname"), []byte("1"), 0o444))
	do(os.Mkdir(at("locked"), 0o755))
	do(os.WriteFile(at("locked/in"), []byte("2"), 0o600))
	do(os.Chmod(at("locked"), 0o500|os.ModeSticky))
	do(unix.Setxattr(at("locked"), "user.k", nil, 0))
	do(os.Link(at("plain"), at("locked/twice")))
	do(os.Symlink("/etc/passwd", at("out")))
	do(os.Lchown(at("out"), 5, 6))
	do(os.Symlink("nowhere", at("locked/dangling")))
	do(unix.Mkfifo(at("fifo"), 0o622))
	do(os.Chmod(at("fifo"), 0o622))
	do(unix.Mknod(at("whiteout"), unix.S_IFCHR, 0))
	sparse, err := os.Create(at("sparse"))
	do(err)
	_, err = sparse.WriteAt([]byte("data"), 10<<20)
	do(err)
	_, err = sparse.WriteAt([]byte("more"), 30<<20)
	do(err)
	do(sparse.Truncate(64 << 20))
	do(sparse.Close())
	for _, name := range []string{"plain", "locked", "fifo", "d"} {
		do(os.Chtimes(at(name), old, old))
	}
	do(os.Chmod(dir, 0o777))
	do(os.Chown(dir, 7, 8))
	return dir
}

// describe says everything of a folder that is to stay.
func describe(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	inodes := map[uint64]string{}
	err := filepath.WalkDir(dir, func(file string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(file)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		name, _ := filepath.Rel(dir, file)
		fmt.Fprintf(&out, "%q %v %d:%d", name, info.Mode(), st.Uid, st.Gid)
		if name == "plain" || name == "locked" || name == "fifo" || name == "d" || name == "out" {
			fmt.Fprintf(&out, " %s", info.ModTime().UTC().Format(time.RFC3339Nano))
		}
		if first, again := inodes[st.Ino]; again {
			fmt.Fprintf(&out, " is %q", first)
		}
		inodes[st.Ino] = name
		switch info.Mode().Type() {
		case 0:
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %d bytes, %d blocks, sum %d", len(b), st.Blocks, bytes.Count(b, []byte{0}))
			if len(b) < 100 {
				fmt.Fprintf(&out, " %q", b)
			}
		case os.ModeSymlink:
			to, _ := os.Readlink(file)
			fmt.Fprintf(&out, " -> %s", to)
		}
		for _, a := range []string{"user.a=b%", "user.k", "security.capability"} {
			b := make([]byte, 100)
			if n, err := unix.Lgetxattr(file, a, b); err == nil {
				fmt.Fprintf(&out, " %s=%q", a, b[:n])
			}
		}
		out.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestSameFolder(t *testing.T) {
	dir := newFolder(t)
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	want := describe(t, dir)
	t.Chdir(dir) // the path of a socket is short
	if err := unix.Bind(socket, &unix.SockaddrUnix{Name: "socket"}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Write(t.Context(), &out, dir); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 1<<20 {
		t.Errorf("holes were written: %d bytes", out.Len())
	}
	to := t.TempDir()
	rest := strings.NewReader("behind the archive")
	if err := Read(t.Context(), io.MultiReader(&out, rest), to); err != nil {
		t.Fatal(err)
	}
	if rest.Len() != 0 {
		t.Error("what is behind the archive was not read")
	}
	if got := describe(t, to); got != want {
		t.Errorf("was\n%s\nis\n%s", want, got)
	}
}

// TestTruncated cuts an archive off everywhere.
func TestTruncated(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat(name, 700)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := Write(t.Context(), &out, dir); err != nil {
		t.Fatal(err)
	}
	archive := bytes.TrimRight(out.Bytes(), "\x00") // two empty blocks, which say nothing more than the last entry
	for n := 0; n < len(archive)-300; n += 100 {
		if err := Read(t.Context(), bytes.NewReader(archive[:n]), t.TempDir()); err == nil {
			t.Errorf("%d bytes of %d were taken for the whole", n, len(archive))
		}
	}
	if err := Read(t.Context(), iotestError{}, t.TempDir()); !errors.Is(err, errBroken) {
		t.Errorf("the error of the stream became %v", err)
	}
}

var errBroken = errors.New("broken")

type iotestError struct{}

func (iotestError) Read([]byte) (int, error) { return 0, errBroken }

// TestOutside has archives that name what is not in the folder.
func TestOutside(t *testing.T) {
	outside := t.TempDir()
	target := filepath.Join(outside, "target")
	if err := os.WriteFile(target, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o700} }
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600} }
	for name, entries := range map[string][]tar.Header{
		"above":             {file("../target")},
		"absolute":          {file(target)},
		"through a link":    {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: outside}, file("l/target")},
		"over a link":       {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: target}, file("l")},
		"a folder's":        {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: outside}, dir("l")},
		"hard link":         {{Name: "h", Typeflag: tar.TypeLink, Linkname: target}},
		"hard link above":   {{Name: "h", Typeflag: tar.TypeLink, Linkname: "../target"}},
		"through, hard":     {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "l/target"}},
		"a disk":            {{Name: "sda", Typeflag: tar.TypeBlock, Devmajor: 8}},
		"another device":    {{Name: "mem", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 1}},
		"a map beyond size": {{Name: "s", Typeflag: tar.TypeReg, Size: 24, PAXRecords: map[string]string{sparseKey: "10"}, Format: tar.FormatPAX}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := tar.NewWriter(&out)
			for _, h := range entries {
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
				if h.Size > 0 {
					if err := writeMap(w, []extent{{5, 6}}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if err := Read(t.Context(), &out, t.TempDir()); err == nil || errors.Is(err, ErrTruncated) {
				t.Errorf("unpacked: %v", err)
			}
			if b, err := os.ReadFile(target); err != nil || string(b) != "as it was" {
				t.Errorf("%q, %v", b, err)
			}
			if list, err := os.ReadDir(outside); err != nil || len(list) != 1 {
				t.Errorf("%v, %v", list, err)
			}
		})
	}
}
