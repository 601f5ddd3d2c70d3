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

// format is the version of the file's own layout: buckets and records.
const format = "1"

var (
	pairsBucket = []byte("pairs")
	localBucket = []byte("local")
	metaBucket  = []byte("meta")
	// leasedBucket has the lease of each key that is under one. A store that never had any is without it.
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
	// Dir is the store's folder: made with mode 0700, refused where others may look inside.
	Dir string
	// LockTimeout is how long to wait for another process to let go of the folder; 0 is not at all.
	LockTimeout time.Duration
	Log         *slog.Logger
}

// DB is an open store.
type DB struct {
	dir, path string
	log       *slog.Logger
	lock      *os.File
	file      *os.File // beside bbolt's own, for the heads
	pageSize  int
	epoch     string
	history   *history

	// mu is held alone while writing, so that no reader sees what is not durable yet.
	mu        sync.RWMutex
	bolt      *bbolt.DB // nil while the heads in the page cache are those of a failed commit
	rev       int64
	loss      *Loss
	leases    map[kv.LeaseID]*lease
	unsettled []byte // heads to put back before the next write; nil when disk and memory agree
	closed    bool
}

// Open opens the store in a folder, or makes one. The error is a *cloud.Error: Conflict where another
// process has it open; Internal where the file is damaged, with the way back as its hint.
func Open(cfg Config) (_ *DB, err error) {
	if err := prepare(cfg.Dir); err != nil {
		return nil, err
	}
	db := &DB{dir: cfg.Dir, path: filepath.Join(cfg.Dir, "store.db"), log: cfg.Log, leases: map[kv.LeaseID]*lease{}}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.lock, err = acquire(cfg.Dir, cfg.LockTimeout); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.release())
		}
	}()
	db.sweep()
	made, err := db.make()
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
	// A process that was killed may have left heads in the page cache that the disk does not have.
	if db.unsettled, err = db.readHeads(); err != nil {
		return nil, db.unavailable(err)
	}
	if err := db.settle(); err != nil {
		return nil, db.unavailable(err)
	}
	if err := db.load(found.single); err != nil {
		return nil, err
	}
	db.history = newHistory(db.rev)
	db.endAll()
	if made {
		return db, nil
	}
	if _, err := db.Backup(""); err != nil {
		// A full disk is no reason not to start: apps are running.
		db.log.Warn("back up the store", "err", err)
	}
	return db, nil
}

func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cloud.Errorf(cloud.Unavailable, "make the store's folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return cloud.Errorf(cloud.Unavailable, "look at the store's folder: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return cloud.Errorf(cloud.Invalid, "the store's folder %s is open to others (mode %04o)", dir, mode).WithCommand("chmod 700 %s", dir)
	}
	return nil
}

// make creates the store's file if there never was one. It appears whole or not at all, so an empty
// file is a damaged one; and where there are backups, a missing file is no new cloud: an empty store
// would have every app stopped.
func (db *DB) make() (made bool, err error) {
	if _, err := os.Stat(db.path); !errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if len(db.backups()) > 0 {
		return false, db.corrupt(errors.New("the file is missing"))
	}
	temp := db.path + ".new"
	b, err := bbolt.Open(temp, 0o600, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return false, cloud.Errorf(cloud.Unavailable, "make the store: %w", err)
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
		return false, cloud.Errorf(cloud.Unavailable, "make the store: %w", err)
	}
	return true, publish(temp, db.path)
}

// publish gives a synced file its name for good.
func publish(temp, path string) error {
	if err := os.Rename(temp, path); err != nil {
		return cloud.Errorf(cloud.Unavailable, "make the store: %w", err)
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

// sweep removes what a killed process left unfinished.
func (db *DB) sweep() {
	for _, pattern := range []string{db.path + ".new", filepath.Join(db.dir, "backup", "*.new")} {
		left, _ := filepath.Glob(pattern)
		for _, path := range left {
			_ = os.Remove(path)
		}
	}
}

func (db *DB) checkFile() (checked, error) {
	info, err := db.file.Stat()
	if err != nil {
		return checked{}, err
	}
	return check(db.file, info.Size())
}

func (db *DB) openBolt() (err error) {
	return guard(func() error {
		db.bolt, err = bbolt.Open(db.path, 0o600, &bbolt.Options{
			Timeout:      time.Second, // ours is the lock that counts
			FreelistType: bbolt.FreelistMapType,
			NoStatistics: true,
		})
		return err
	})
}

// load reads what the file says of itself, and all its records once for their checksums.
func (db *DB) load(single bool) error {
	err := guard(func() error { return db.bolt.View(db.readMeta) })
	if err != nil {
		return db.corrupt(err)
	}
	var loss []byte
	if single {
		db.loss = &Loss{At: time.Now().UTC(), Rev: db.rev}
		db.log.Error("one of the two heads of the store is damaged: its last change may be lost", "rev", db.rev)
		if loss, err = json.Marshal(db.loss); err != nil {
			return err
		}
	}
	if db.epoch != "" && !single {
		return nil
	}
	// The lost head may have been the newer one: revisions could come twice.
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
			return fmt.Errorf("it has no bucket %q", name)
		}
		if err := b.ForEach(func(k, v []byte) error {
			if !soundRecord(k, v) {
				return fmt.Errorf("record %q of %s fails its checksum", k, name)
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
			return fmt.Errorf("what is known of its last damage is not readable: %w", err)
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

// release lets go of all files, the lock last.
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
