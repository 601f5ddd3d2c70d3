package boltkv

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// fill opens the store in dir, writes n pairs and closes it.
func fill(t *testing.T, dir string, n int) {
	t.Helper()
	db := mustOpen(t, dir)
	for i := range n {
		key := strings.Repeat("k", 1+i%7) + string(rune('a'+i%26))
		if _, err := db.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: key, Value: make([]byte, 700)}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t *testing.T, dir string) *DB {
	t.Helper()
	// Wait: a process that a parallel test has just forked holds the lock too, until it calls exec.
	db, err := Open(Config{Dir: dir, LockTimeout: time.Second})
	if err != nil {
		t.Fatalf("%v (%s)", err, cloud.HintOf(err))
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestSecondOpenerIsToldWho(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	db := mustOpen(t, dir)
	_, err := Open(Config{Dir: dir})
	if cloud.CodeOf(err) != cloud.Conflict || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "by process ") {
		t.Errorf("got %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir)
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	fill(t, dir, 1)
	fill(t, dir, 1)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if want := map[bool]os.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); cloud.CodeOf(err) != cloud.Invalid || cloud.HintOf(err) != "chmod 700 "+dir {
		t.Errorf("an open folder: %v", err)
	}
}

func TestBackups(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	fill(t, dir, 1)
	for range 3 {
		fill(t, dir, 0)
	}
	if n := len(mustOpen(t, dir).backups()); n != 1 {
		t.Errorf("%d backups of a store that did not change", n)
	}
	dir = filepath.Join(t.TempDir(), "t")
	db := mustOpen(t, dir)
	if n := len(db.backups()); n != 0 {
		t.Errorf("%d backups of a new store", n)
	}
	kept, err := db.Backup("schema-1")
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	for range 2 * keptBackups {
		fill(t, dir, 1)
	}
	db = mustOpen(t, dir)
	if n := len(db.backups()); n != keptBackups+1 || db.backups()[0] != kept {
		t.Errorf("%d backups, the first %s, not %s", n, db.backups()[0], kept)
	}
}

func TestRestoredStoreStartsAnEpoch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	fill(t, dir, 3)
	db := mustOpen(t, dir)
	epoch, backup := db.epoch, db.backups()[len(db.backups())-1]
	if err := os.WriteFile(db.path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	_, err := Open(Config{Dir: dir})
	if cloud.CodeOf(err) != cloud.Internal || !strings.Contains(err.Error(), db.path) || !strings.HasSuffix(cloud.HintOf(err), "cp "+backup+" "+db.path) {
		t.Fatalf("got %v, hint %s", err, cloud.HintOf(err))
	}
	b, err := os.ReadFile(backup)
	if err == nil {
		err = os.WriteFile(db.path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, dir)
	if pairs, rev, err := db.List(t.Context(), ""); err != nil || len(pairs) != 3 || rev != 3 || db.epoch == epoch {
		t.Errorf("restored %d pairs at %d in epoch %s (was %s), %v", len(pairs), rev, db.epoch, epoch, err)
	}
}

// TestLostFileIsNoNewCloud removes the file: an empty store in its place would stop every app.
func TestLostFileIsNoNewCloud(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	fill(t, dir, 1)
	fill(t, dir, 1)
	path := filepath.Join(dir, "store.db")
	for _, lose := range []func(string) error{func(p string) error { return os.Truncate(p, 0) }, os.Remove} {
		if err := lose(path); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Config{Dir: dir}); cloud.CodeOf(err) != cloud.Internal || !strings.Contains(cloud.HintOf(err), "cp ") {
			t.Errorf("got %v, hint %s", err, cloud.HintOf(err))
		}
	}
}

func TestFutureFormat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	db := mustOpen(t, dir)
	if err := db.bolt.Update(func(tx *bbolt.Tx) error { return setMeta(tx, metaFormat, "2") }); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	if _, err := Open(Config{Dir: dir}); cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), `format "2", this micro reads format 1`) {
		t.Errorf("got %v", err)
	}
}

func TestLocal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	db := mustOpen(t, dir)
	l := db.Local()
	if err := l.Put(kv.Pair{Key: "exit/a", Value: []byte("1")}, kv.Pair{Key: "exit/b", Value: []byte("2")}, kv.Pair{Key: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Delete("exit/a", "none"); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	db = mustOpen(t, dir)
	l = db.Local()
	pairs, err := l.List("exit/")
	if err != nil || len(pairs) != 1 || pairs[0].Key != "exit/b" || string(pairs[0].Value) != "2" {
		t.Errorf("got %v, %v", pairs, err)
	}
	if v, err := l.Get("exit/a"); v != nil || err != nil {
		t.Errorf("deleted, yet %q, %v", v, err)
	}
	if _, rev, err := db.List(t.Context(), ""); rev != 0 || err != nil {
		t.Errorf("local facts made revision %d, %v", rev, err)
	}
}
