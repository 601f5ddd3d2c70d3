package boltkv

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// format is the version of the file's layout: buckets and records.
const format = "1"

var (
	pairsBucket = []byte("pairs")
	localBucket = []byte("local")
	metaBucket  = []byte("meta")
	// leasedBucket has the leases of keys that are under one. It is created with the first such key.
	leasedBucket = []byte("leased")
)

// Keys of the meta bucket.
const (
	metaFormat = "format"
	metaEpoch  = "epoch"
	metaRev    = "rev"
	metaLoss   = "loss"
)

// Config says where a store is kept.
type Config struct {
	// Dir is the store's folder. It is made with mode 0700, and refused if other users can open it.
	Dir string
	// LockTimeout is how long to wait until another process releases the folder's lock; 0: don't wait.
	LockTimeout time.Duration
	Log         *slog.Logger
}

// DB is an open store.
type DB struct {
	dir, path string
	log       *slog.Logger
	lock      *os.File
	file      *os.File // for the heads; bbolt has its own descriptor
	pageSize  int
	epoch     string
	history   *history

	// mu is locked for writing during a commit, so that no reader sees changes that are not durable yet.
	mu           sync.RWMutex
	bolt         *bbolt.DB // nil while the page cache has the heads of a failed commit
	rev          int64
	loss         *Loss
	leases       map[kv.LeaseID]*lease
	pendingHeads []byte // heads to restore before the next write; nil if disk and memory agree
	closed       bool
}

// Open opens the store in a folder, or creates it. Its error is a *cloud.Error: Conflict if another process has
// the store open; Internal if the file is damaged, with a hint how to restore a backup.
func Open(cfg Config) (_ *DB, err error) {
	if err := prepare(cfg.Dir); err != nil {
		return nil, err
	}
	db := &DB{dir: cfg.Dir, path: filepath.Join(cfg.Dir, "store.db"), log: cfg.Log, leases: map[kv.LeaseID]*lease{}}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.lock, err = acquireLock(cfg.Dir, cfg.LockTimeout); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.release())
		}
	}()
	db.removeUnfinished()
	made, err := db.create()
	if err != nil {
		return nil, err
	}
	if db.file, err = os.OpenFile(db.path, os.O_RDWR, 0); err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "open the store: %w", err)
	}
	found, err := db.checkFile()
	if err != nil {
		return nil, db.corrupt(err)
	}
	db.pageSize = int(found.pageSize)
	// A killed process may have left heads in the page cache that are not on disk: write and sync them.
	if db.pendingHeads, err = db.readHeads(); err != nil {
		return nil, db.unavailable(err)
	}
	if err := db.restoreHeads(); err != nil {
		return nil, db.unavailable(err)
	}
	if err := db.load(found.headDamaged); err != nil {
		return nil, err
	}
	db.history = newHistory(db.rev)
	db.endOldLeases()
	if made {
		return db, nil
	}
	if _, err := db.Backup(""); err != nil {
		// Start even if the disk is full: apps are running.
		db.log.Warn("cannot back up the store", "err", err)
	}
	return db, nil
}

func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cloud.Errorf(cloud.Unavailable, "make the store's folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return cloud.Errorf(cloud.Unavailable, "check the store's folder: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return cloud.Errorf(cloud.Invalid, "other users have access to the store's folder %s (mode %04o)", dir, mode).WithCommand("chmod 700 %s", dir)
	}
	return nil
}

// create creates the store's file if there never was one. The file appears complete or not at all, so an empty
// file counts as damaged. If there are backups, a missing file is an error: a new, empty store would stop
// every app.
func (db *DB) create() (made bool, err error) {
	if _, err := os.Stat(db.path); !errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if len(db.backups()) > 0 {
		return false, db.corrupt(errors.New("the file is missing"))
	}
	temp := db.path + ".new"
	b, err := bbolt.Open(temp, 0o600, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return false, cloud.Errorf(cloud.Unavailable, "create the store: %w", err)
	}
	err = b.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{pairsBucket, localBucket, metaBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return errors.Join(setMeta(tx, metaFormat, format), setMeta(tx, metaEpoch, newEpoch()), setMeta(tx, metaRev, "0"))
	})
	if err := errors.Join(err, b.Sync(), b.Close()); err != nil {
		return false, cloud.Errorf(cloud.Unavailable, "create the store: %w", err)
	}
	return true, publish(temp, db.path)
}

// publish renames a synced file to its final name, durably.
func publish(temp, path string) error {
	if err := os.Rename(temp, path); err != nil {
		return cloud.Errorf(cloud.Unavailable, "create the store: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return cloud.Errorf(cloud.Unavailable, "sync the store's folder: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return cloud.Errorf(cloud.Unavailable, "sync the store's folder: %w", err)
	}
	return nil
}

// removeUnfinished removes the temporary files of a killed process.
func (db *DB) removeUnfinished() {
	for _, pattern := range []string{db.path + ".new", filepath.Join(db.dir, "backup", "*.new")} {
		left, _ := filepath.Glob(pattern)
		for _, path := range left {
			_ = os.Remove(path)
		}
	}
}

func (db *DB) checkFile() (checkResult, error) {
	info, err := db.file.Stat()
	if err != nil {
		return checkResult{}, err
	}
	return check(db.file, info.Size())
}

func (db *DB) openBolt() (err error) {
	return catchPanic(func() error {
		db.bolt, err = bbolt.Open(db.path, 0o600, &bbolt.Options{
			Timeout:      time.Second, // short, because acquireLock has already excluded other processes
			FreelistType: bbolt.FreelistMapType,
			NoStatistics: true,
		})
		return err
	})
}

// load reads the store's metadata and verifies the checksums of all records. headDamaged is set if one of the
// two heads is unreadable.
func (db *DB) load(headDamaged bool) error {
	err := catchPanic(func() error { return db.bolt.View(db.readMeta) })
	if err != nil {
		return db.corrupt(err)
	}
	var loss []byte
	if headDamaged {
		db.loss = &Loss{At: time.Now().UTC(), Rev: db.rev}
		db.log.Error("one of the two heads of the store is damaged: its last change may be lost", "rev", db.rev)
		if loss, err = json.Marshal(db.loss); err != nil {
			return err
		}
	}
	if db.epoch != "" && !headDamaged {
		return nil
	}
	// A new epoch: if the damaged head was the newer one, revisions are used a second time.
	db.epoch = newEpoch()
	return db.write(func(tx *bbolt.Tx) error {
		if err := setMeta(tx, metaEpoch, db.epoch); err != nil || loss == nil {
			return err
		}
		return setMeta(tx, metaLoss, string(loss))
	})
}

func (db *DB) readMeta(tx *bbolt.Tx) error {
	for _, name := range [][]byte{metaBucket, pairsBucket, localBucket, leasedBucket} {
		b := tx.Bucket(name)
		if b == nil && slices.Equal(name, leasedBucket) {
			continue
		}
		if b == nil {
			return fmt.Errorf("the bucket %q is missing", name)
		}
		if err := b.ForEach(func(k, v []byte) error {
			if !recordIsIntact(k, v) {
				return fmt.Errorf("record %q of %s has a wrong checksum", k, name)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if v := getMeta(tx, metaFormat); v != format {
		return cloud.Errorf(cloud.Invalid, "the store %s has format %q, this micro reads format %s", db.path, v, format).WithHint("use the version of micro that wrote it, or a newer one")
	}
	if text := getMeta(tx, metaLoss); text != "" {
		db.loss = new(Loss)
		if err := json.Unmarshal([]byte(text), db.loss); err != nil {
			return fmt.Errorf("decode the record of its last damage: %w", err)
		}
	}
	var err error
	db.epoch = getMeta(tx, metaEpoch)
	db.rev, err = strconv.ParseInt(getMeta(tx, metaRev), 10, 64)
	return err
}

func setMeta(tx *bbolt.Tx, key, value string) error {
	return tx.Bucket(metaBucket).Put([]byte(key), encodeRecord(key, 0, []byte(value)))
}

func getMeta(tx *bbolt.Tx, key string) string {
	if record := tx.Bucket(metaBucket).Get([]byte(key)); len(record) >= recordHead {
		return string(record[recordHead:])
	}
	return ""
}

func formatRev(rev int64) string { return strconv.FormatInt(rev, 10) }

func newEpoch() string { return rand.Text()[:13] } // 65 bits

// Close implements kv.Engine.
func (db *DB) Close() error {
	db.history.close()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	for _, l := range db.leases {
		l.timer.Stop()
	}
	return db.release()
}

// release closes all files, the lock last.
func (db *DB) release() error {
	var errs []error
	if db.bolt != nil {
		errs = append(errs, db.bolt.Close())
	}
	if db.file != nil {
		errs = append(errs, db.file.Close())
	}
	return errors.Join(append(errs, db.lock.Close())...)
}
