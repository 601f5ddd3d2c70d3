package disk

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// smallDisk mounts a file system of a bounded size.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("reserve", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillUp writes a file until the disk is full.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// A full disk has room for a repair, and for nothing else once that is over.
func TestReserve(t *testing.T) {
	dir := smallDisk(t, "size=8M")
	r, err := NewReserve(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, reserveFile)); err == nil {
		t.Error("a start writes")
	}
	r.fill()
	fillUp(t, filepath.Join(dir, "apps"))
	// Another process finds the reserve, and does not fill it from what is not there.
	if r, err = NewReserve(dir, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	r.fill()
	write := func() error { return os.WriteFile(filepath.Join(dir, "line"), make([]byte, 4096), 0o600) }
	if err := write(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the disk is not full: %v", err)
	}
	again := r.Lend()
	if err := write(); err != nil {
		t.Errorf("the repair has no room: %v", err)
	}
	r.fill()
	if err := os.WriteFile(filepath.Join(dir, "line 2"), make([]byte, 64<<10), 0o600); err != nil {
		t.Errorf("the room is taken away from a repair: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "apps")); err != nil {
		t.Fatal(err)
	}
	again()
	fillUp(t, filepath.Join(dir, "apps"))
	calls := 0
	if err := r.Retry(func() error { calls++; return writeLine(dir) }); err != nil || calls != 2 {
		t.Errorf("a write that found the disk full was tried %d times: %v", calls, err)
	}
}

func writeLine(dir string) error {
	return os.WriteFile(filepath.Join(dir, "line 3"), make([]byte, 64<<10), 0o600)
}
