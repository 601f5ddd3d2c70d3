package boltkv

import (
	"errors"
	"fmt"
	"runtime/debug"
	"syscall"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// view runs fn in a read transaction.
func (db *DB) view(fn func(*bbolt.Tx) error) error {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.viewLocked(fn)
}

func (db *DB) viewLocked(fn func(*bbolt.Tx) error) error {
	if db.closed {
		return kv.ErrClosed
	}
	if db.bolt == nil {
		return cloud.Errorf(cloud.Unavailable, "the store %s cannot be read until its disk can be written again", db.path)
	}
	err := guard(func() error { return db.bolt.View(fn) })
	if e := (*cloud.Error)(nil); err == nil || errors.As(err, &e) {
		return err
	}
	return cloud.Errorf(cloud.Unavailable, "the store %s cannot be read: %w", db.path, err)
}

// write runs fn in a transaction and returns once it is durable. An error of fn undoes it. Any other
// is Unavailable, and leaves the file as it was before. db.mu is held.
func (db *DB) write(fn func(*bbolt.Tx) error) error {
	if db.closed {
		return kv.ErrClosed
	}
	if err := db.settle(); err != nil {
		return db.unavailable(err)
	}
	heads, err := db.readHeads()
	if err != nil {
		return db.unavailable(err)
	}
	tx, err := db.bolt.Begin(true)
	if err != nil {
		return db.unavailable(err)
	}
	var refused error
	err = guard(func() error {
		if refused = fn(tx); refused != nil {
			return tx.Rollback()
		}
		return tx.Commit()
	})
	if err == nil {
		return refused
	}
	// bbolt has undone the transaction, unless it panicked; then this does, and frees bbolt's lock. If it
	// panics again, closing would wait for that lock for ever.
	if rerr := guard(tx.Rollback); rerr != nil && !errors.Is(rerr, bolterrors.ErrTxClosed) {
		db.bolt = nil
	}
	db.unsettled = heads
	if serr := db.settle(); serr != nil {
		db.log.Warn("the store takes no writes until its disk does", "err", serr)
	}
	return db.unavailable(err)
}

// settle makes the disk agree with the last acknowledged transaction, if a commit failed since: it puts
// the heads of that transaction back and syncs them. Until that works nothing is written. For the
// readers it is enough that the heads are back in the page cache.
func (db *DB) settle() error {
	if db.unsettled == nil {
		return nil
	}
	if db.bolt != nil {
		if err := guard(db.bolt.Close); err != nil {
			db.log.Warn("close the store's file", "err", err)
		}
		db.bolt = nil
	}
	// The kernel tells each descriptor once of a write that failed earlier, so the first sync may
	// speak of the past. Each try dirties the pages anew: a failed sync leaves them clean.
	_, werr := db.file.WriteAt(db.unsettled, 0)
	serr := unix.Fdatasync(int(db.file.Fd()))
	if werr != nil || serr != nil {
		_, werr = db.file.WriteAt(db.unsettled, 0)
		serr = unix.Fdatasync(int(db.file.Fd()))
	}
	if werr != nil {
		return werr
	}
	if err := db.openBolt(); err != nil {
		return err
	}
	if serr == nil {
		db.unsettled = nil
	}
	return serr
}

// readHeads returns the bytes of both heads.
func (db *DB) readHeads() ([]byte, error) {
	b := make([]byte, 2*db.pageSize)
	_, err := db.file.ReadAt(b, 0)
	return b, err
}

func (db *DB) unavailable(err error) error {
	if e := (*cloud.Error)(nil); errors.As(err, &e) {
		return err
	}
	e := cloud.Errorf(cloud.Unavailable, "the store %s cannot be written: %w", db.path, err)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return e.WithHint("free some space on %s; the store then goes on by itself", db.dir)
	case errors.Is(err, syscall.EIO):
		return e.WithHint("look for errors of the disk below %s with dmesg; the store goes on once writes succeed", db.dir)
	}
	return e
}

// guard turns a panic of bbolt, and a page of the file that cannot be read, into an error. The file is
// mapped: without this a bad sector would end the process, and with it the routing of every app.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("bbolt: %v", r)
		}
	}()
	return fn()
}
