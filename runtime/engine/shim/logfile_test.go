package shim

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk is a folder on a file system of so many bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("small", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func openLog(t *testing.T, name string) *logFile {
	t.Helper()
	l, err := openLogFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func onDisk(t *testing.T, name string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// However much is written, no more stays on disk than what is kept, and that is the end, whole.
func TestLogIsBounded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	l := openLog(t, name)
	l.keep = 4 << 20
	const total = 60 << 20
	line := bytes.Repeat([]byte("x"), 99)
	r, w := io.Pipe()
	go func() {
		for n := 0; n < total; n += 100 {
			_, _ = w.Write(append(line, '\n'))
			if n%(1<<20) < 100 {
				if got := onDisk(t, name); got > l.keep+slack {
					t.Errorf("%d bytes are on disk after %d", got, n)
				}
			}
		}
		w.Close()
	}()
	l.copy(r)
	fi, err := os.Stat(name)
	if err != nil || fi.Size() < total {
		t.Fatalf("%v, %v", fi, err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	end := make([]byte, l.keep)
	if _, err := f.ReadAt(end, fi.Size()-l.keep); err != nil || bytes.IndexByte(end, 0) >= 0 {
		t.Errorf("not all of the end is kept: %v", err)
	}
}

// A disk that is full costs lines, which are counted, and ends nothing.
func TestLogOnFullDisk(t *testing.T) {
	dir := smallDisk(t, "1m")
	name, ballast := filepath.Join(dir, "log"), filepath.Join(dir, "ballast")
	l := openLog(t, name)
	l.write([]byte("first\n"))
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	for range 100 {
		l.write(bytes.Repeat([]byte("y"), 10_000))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	l.write([]byte("last\n"))
	l.copy(strings.NewReader("very last"))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	if n := len(lines); lines[0] != "first" || n < 4 || !strings.HasSuffix(lines[n-3], "bytes were dropped: the disk was full]") || lines[n-2] != "last" || lines[n-1] != "very last" {
		t.Errorf("%d lines: %.40q … %q", n, lines[0], lines[max(0, n-3):])
	}
}
