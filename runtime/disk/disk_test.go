package disk

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// TestNoInodes checks that a disk with free space but without free inodes counts as full.
func TestNoInodes(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("micro", dir, "tmpfs", 0, "size=8m,nr_inodes=100"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if err := Check(dir, 1<<20); err != nil {
		t.Error(err)
	}
	for i := range 96 {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Check(dir, 1<<20); cloud.CodeOf(err) != cloud.Unavailable || !strings.Contains(err.Error(), "files") {
		t.Errorf("%v", err)
	}
}

func TestCancelWhenFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("micro", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if n, err := Size(dir); err != nil || n != 8<<20 {
		t.Errorf("size %d, %v", n, err)
	}
	ctx, done := CancelWhenFull(t.Context(), dir, 4<<20)
	if ctx.Err() != nil {
		t.Fatal("an empty disk is full")
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Minute):
		t.Fatal("a full disk is not noticed")
	}
	if err := context.Cause(ctx); cloud.CodeOf(err) != cloud.Unavailable || cloud.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	done()
	if err := Check(dir, 1<<20); err != nil {
		t.Error(err)
	}
	if ctx, done := CancelWhenFull(t.Context(), filepath.Join(dir, "nothere"), 1); ctx.Err() == nil {
		t.Error("no error for a missing folder")
	} else {
		done()
	}
}
