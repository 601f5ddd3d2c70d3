package boltkv

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// sample returns the file of a store with several pages of each kind.
func sample(t testing.TB) []byte {
	path := filepath.Join(t.TempDir(), "sample.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, PageSize: 1024})
	if err != nil {
		t.Fatal(err)
	}
	for round := range uint32(3) {
		err := db.Update(func(tx *bbolt.Tx) error {
			for _, name := range [][]byte{metaBucket, localBucket, pairsBucket} {
				b, err := tx.CreateBucketIfNotExists(name)
				if err != nil {
					return err
				}
				for i := range uint32(len(name) * len(name) * 5) {
					if err := b.Put(binary.BigEndian.AppendUint32([]byte("key"), i), make([]byte, (i+round)*31%1500)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzCheck damages a file. If check accepts it, bbolt must not read outside the file.
func FuzzCheck(f *testing.F) {
	whole := sample(f)
	if _, err := check(bytes.NewReader(whole), int64(len(whole))); err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), []byte{}, uint32(0))
	for _, at := range []uint32{8, 1024, 2048, 3072 + 10, 4096 + 12, 5 * 1024, 9*1024 + 16, 20*1024 + 20} {
		f.Add(at, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint32(0))
		f.Add(at, make([]byte, 512), at)
	}
	f.Fuzz(func(t *testing.T, at uint32, with []byte, cut uint32) {
		b := bytes.Clone(whole)
		b = b[:len(b)-int(cut)%len(b)]
		if int(at) < len(b) {
			copy(b[at:], with)
		}
		if _, err := check(bytes.NewReader(b), int64(len(b))); err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "f.db")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		// It may still panic, which catchPanic handles; a memory fault fails this test.
		defer func() { _ = recover() }()
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
		if err != nil {
			return
		}
		defer db.Close()
		_ = db.Update(func(tx *bbolt.Tx) error {
			for _, name := range [][]byte{metaBucket, localBucket, pairsBucket} {
				b := tx.Bucket(name)
				if b == nil {
					continue
				}
				_ = b.ForEach(func(k, v []byte) error {
					_ = bytes.Clone(v)
					return nil
				})
				_ = b.Put([]byte("another"), []byte("pair"))
			}
			return nil
		})
	})
}

// TestEveryDamagedPage overwrites each page in turn, completely and partly (a torn write): the damage must be
// found, unless the page was free.
func TestEveryDamagedPage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	fill(t, dir, 60)
	path := filepath.Join(dir, "store.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "backup")); err != nil {
		t.Fatal(err)
	}
	found := 0
	for at := 0; at < len(whole); at += 2048 {
		b := bytes.Clone(whole)
		for i := range b[at : at+2048] {
			b[at+i] ^= 0x55
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := Open(Config{Dir: dir})
		switch {
		case err == nil:
			pairs, rev, lerr := db.List(t.Context(), "")
			// If the newer head is damaged, the file has the state before the last transaction.
			if want := int64(60); lerr != nil || len(pairs) == 0 || rev != want && (at >= 8192 || rev != want-1) {
				t.Errorf("damaged at %d: unnoticed, with %d pairs at %d, %v", at, len(pairs), rev, lerr)
			}
			_ = db.Close()
			_ = os.RemoveAll(filepath.Join(dir, "backup"))
		case cloud.CodeOf(err) == cloud.Internal:
			found++
		default:
			t.Errorf("damaged at %d: %v", at, err)
		}
	}
	if found < 10 {
		t.Errorf("only %d of %d damages were noticed", found, len(whole)/2048)
	}
	for _, cut := range []int{1, 4096, 4097, len(whole) / 2, len(whole) - 100, len(whole) - 4096} {
		if err := os.WriteFile(path, whole[:len(whole)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := Open(Config{Dir: dir})
		if err == nil {
			if pairs, rev, err := db.List(t.Context(), ""); err != nil || rev != 60 {
				t.Errorf("cut by %d: unnoticed, with %d pairs at %d, %v", cut, len(pairs), rev, err)
			}
			_ = db.Close()
		}
	}
}

// TestLossIsRemembered damages the newer head, so that the last change is lost. The store must report that from
// then on, also after it has repaired the file.
func TestLossIsRemembered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	fill(t, dir, 5)
	path := filepath.Join(dir, "store.db")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := os.Getpagesize()
	newer := 0
	if at := pageHead + 48; binary.LittleEndian.Uint64(file[size+at:]) > binary.LittleEndian.Uint64(file[at:]) {
		newer = size
	}
	file[newer+pageHead+20] ^= 1
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		db, err := Open(Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		loss, lost := db.Loss()
		if !lost || loss.Rev != 4 || time.Since(loss.At) > time.Minute {
			t.Errorf("%v %+v, want the loss of what came after revision 4", lost, loss)
		}
		if _, err := db.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: "a", Value: []byte("b")}}}); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	fresh, err := Open(Config{Dir: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if loss, lost := fresh.Loss(); lost {
		t.Errorf("a new store has lost something: %+v", loss)
	}
}
