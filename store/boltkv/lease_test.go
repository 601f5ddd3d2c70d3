package boltkv

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// TestLeaseOnFullDisk ends a lease and a process while the disk is full: the keys must be deleted as soon as there
// is space.
func TestLeaseOnFullDisk(t *testing.T) {
	mount := smallDisk(t)
	dir := filepath.Join(mount, "s")
	db := mustOpen(t, dir)
	ended, err := db.Grant(t.Context(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	held, err := db.Grant(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var txn kv.Txn
	for i := range 300 { // so many that deleting them needs space
		txn.Put = append(txn.Put, kv.Put{Key: fmt.Sprintf("leased/%d/a", i), Value: make([]byte, 200), Lease: ended}, kv.Put{Key: fmt.Sprintf("leased/%d/b", i), Value: make([]byte, 200)})
	}
	if _, err := db.Commit(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
	for i := 0; err == nil; i++ {
		_, err = db.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: fmt.Sprint("fill/", i), Value: make([]byte, 4000)}}})
	}
	if cloud.CodeOf(err) != cloud.Unavailable {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	db, err = Open(Config{Dir: dir, LockTimeout: time.Second, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if !strings.Contains(log.String(), "cannot delete the keys of old leases") {
		t.Fatalf("the disk is not full enough for this test: %s", &log)
	}
	if _, err := db.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: "x", Value: []byte("x"), Lease: held}}}); !errors.Is(err, kv.ErrNoLease) {
		t.Errorf("a lease of a process that has ended: %v", err)
	}
	if err := unix.Mount("", mount, "", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; {
		left, _, err := db.List(t.Context(), "leased/")
		if err == nil && len(left) == 300 {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("%d keys are left, %v", len(left), err)
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // a poll, with an end
	}
	if _, err := db.Grant(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	if kept, _, err := db.List(t.Context(), "fill/"); err != nil || len(kept) == 0 {
		t.Errorf("%d other keys, %v", len(kept), err)
	}
}
