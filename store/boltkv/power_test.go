package boltkv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/protoduction/micro/store/kv"
)

// TestPowerLoss copies the disk under a store after every change, as if the power failed then: without data that
// is only in the page cache. All acknowledged changes must be on the copy.
func TestPowerLoss(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 4<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", "-F", disk)
	// No periodic commits of the file system: they would write data that was not synced.
	mount := mountDisk(t, disk)
	db := mustOpen(t, filepath.Join(mount, "s"))
	for i := range 12 {
		if _, err := db.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: fmt.Sprint(i), Value: make([]byte, 3000)}}}); err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			after := filepath.Join(t.TempDir(), "after")
			run(t, "cp", disk, after)
			left := mustOpen(t, filepath.Join(mountDisk(t, after), "s"))
			defer left.Close()
			pairs, rev, err := left.List(t.Context(), "")
			if err != nil || rev != int64(i+1) || len(pairs) != i+1 || left.Epoch() != db.Epoch() {
				t.Errorf("%d pairs at %d are left, %v", len(pairs), rev, err)
			}
		})
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func mountDisk(t *testing.T, disk string) string {
	dir := t.TempDir()
	run(t, "mount", "-o", "loop,commit=300", disk, dir)
	t.Cleanup(func() { run(t, "umount", dir) })
	return dir
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}
