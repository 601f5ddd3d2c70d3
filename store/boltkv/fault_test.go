package boltkv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// smallDisk mounts a file system of 512 KiB.
func smallDisk(t *testing.T) (mount string) {
	t.Helper()
	mount = t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=512k,mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return mount
}

// TestDiskFull fills the disk under a store. The store must refuse writes, answer reads, and go on when there is
// space again.
func TestDiskFull(t *testing.T) {
	mount := smallDisk(t)
	dir := filepath.Join(mount, "s")
	db := mustOpen(t, dir)
	put := func(i int) error {
		value := make([]byte, 8000)
		_, err := db.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: fmt.Sprint(i), Value: value}}})
		return err
	}
	n := 0
	var full error
	for ; full == nil; n++ {
		full = put(n)
	}
	n--
	if cloud.CodeOf(full) != cloud.Unavailable || !errors.Is(full, syscall.ENOSPC) || !strings.Contains(cloud.HintOf(full), mount) {
		t.Fatalf("got %v, hint %s", full, cloud.HintOf(full))
	}
	for range 3 {
		if err := put(n); cloud.CodeOf(err) != cloud.Unavailable {
			t.Fatalf("still full, yet %v", err)
		}
		if pairs, rev, err := db.List(t.Context(), ""); err != nil || len(pairs) != n || rev != int64(n) {
			t.Fatalf("%d pairs at %d, %v; want %d", len(pairs), rev, err, n)
		}
	}
	// A node must start on a full disk too, without a new backup.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, dir)
	if err := unix.Mount("", mount, "", unix.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := put(n + i); err != nil {
			t.Fatalf("space again, yet %v", err)
		}
	}
	_ = db.Close()
	db = mustOpen(t, dir)
	if pairs, rev, err := db.List(t.Context(), ""); err != nil || len(pairs) != n+3 || rev != int64(n+3) {
		t.Errorf("in the end %d pairs at %d, %v; want %d", len(pairs), rev, err, n+3)
	}
}

const faultDir = "BOLTKV_FAULT_DIR"

// TestSyncFails makes each of the first syncs fail in turn: those of data, heads and repair. The writer under
// strace goes on and prints the result of each commit.
func TestSyncFails(t *testing.T) {
	if os.Getenv(faultDir) != "" {
		if err := faultWriter(os.Getenv(faultDir)); err != nil {
			fmt.Println("fault writer:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	for _, call := range []string{"fdatasync", "pwrite64"} {
		for _, when := range []string{"3", "4", "5", "6", "7", "5..6", "6..9", "3..20", "7+23"} {
			t.Run(call+" "+when, func(t *testing.T) {
				t.Parallel()
				checkWritten(t, underStrace(t, call, "error=EIO:when="+when), true)
			})
		}
	}
}

// TestKilled kills the writer at its nth system call.
func TestKilled(t *testing.T) {
	for _, call := range []string{"fdatasync", "pwrite64"} {
		for n := 2; n < 30; n += 5 {
			t.Run(fmt.Sprint(call, " ", n), func(t *testing.T) {
				t.Parallel()
				checkWritten(t, underStrace(t, call, fmt.Sprint("signal=KILL:when=", n)), false)
			})
		}
	}
}

// report is the output of the writer.
type report struct {
	dir    string
	acked  map[string]bool
	failed int
	last   string
}

// underStrace runs the writer while strace injects a fault into a system call. strace counts the calls of each
// thread separately.
func underStrace(t *testing.T, call, what string) report {
	r := report{dir: filepath.Join(t.TempDir(), "s"), acked: map[string]bool{}}
	fill(t, r.dir, 5)
	cmd := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace="+call,
		"-e", "inject="+call+":"+what, os.Args[0], "-test.run=^TestSyncFails$")
	cmd.Env = append(os.Environ(), faultDir+"="+r.dir)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 0) {
		t.Fatalf("%v: %s", err, out)
	}
	for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); {
		word, key, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "ok":
			r.acked[key] = true
		case "failed":
			r.failed++
		default:
			t.Fatalf("the writer said %q", lines.Text())
		}
		r.last = word
	}
	return r
}

// checkWritten checks that all acknowledged pairs are there, and no others if the writer lived until the end.
func checkWritten(t *testing.T, r report, lived bool) {
	if lived && r.last != "ok" {
		t.Errorf("%d failed, the last too", r.failed)
	}
	db := mustOpen(t, r.dir)
	pairs, _, err := db.List(t.Context(), "f")
	more := len(pairs) - len(r.acked)
	if err != nil || more < 0 || more > 1 || lived && more > 0 {
		t.Errorf("%d pairs, %v; acknowledged were %d", len(pairs), err, len(r.acked))
	}
	for _, p := range pairs {
		if !r.acked[p.Key] {
			more--
		}
	}
	if more != 0 {
		t.Errorf("not all of the %d that were acknowledged are there", len(r.acked))
	}
}

// faultWriter writes pairs, prints the result of each, and checks that it can read exactly the acknowledged ones.
func faultWriter(dir string) error {
	db, err := Open(Config{Dir: dir, LockTimeout: time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, acked := context.Background(), 0
	for i, well := 0, false; i < 40 || !well && i < 80; i++ {
		key := "f" + strconv.Itoa(i)
		_, err := db.Commit(ctx, kv.Txn{Put: []kv.Put{{Key: key, Value: make([]byte, 900)}}})
		well = err == nil
		switch {
		case well:
			acked++
			fmt.Println("ok", key)
		case cloud.CodeOf(err) == cloud.Unavailable && errors.Is(err, syscall.EIO):
			fmt.Println("failed", key)
		default:
			return fmt.Errorf("commit %s: %w", key, err)
		}
		if pairs, _, err := db.List(ctx, "f"); err == nil && len(pairs) != acked {
			return fmt.Errorf("after %s: %d pairs, %d acknowledged", key, len(pairs), acked)
		}
	}
	return nil
}
