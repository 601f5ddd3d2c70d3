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
	err := catchPanic(func() error { return db.bolt.View(fn) })
	if e := (*cloud.Error)(nil); err == nil || errors.As(err, &e) {
		return err
	}
	return cloud.Errorf(cloud.Unavailable, "the store %s cannot be read: %w", db.path, err)
}

// write runs fn in a transaction and returns when that is durable. If fn returns an error, the transaction is
// rolled back and write returns that error. Other errors are Unavailable; they leave the file as before.
// db.mu must be held.
func (db *DB) write(fn func(*bbolt.Tx) error) error {
	if db.closed {
		return kv.ErrClosed
	}
	if err := db.restoreHeads(); err != nil {
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
	err = catchPanic(func() error {
		if refused = fn(tx); refused != nil {
			return tx.Rollback()
		}
		return tx.Commit()
	})
	if err == nil {
		return refused
	}
	// bbolt has rolled the transaction back, unless it panicked. Then this rollback does it and releases
	// bbolt's lock. If that panics too, closing bbolt would wait for its lock for ever, so drop it.
	if rerr := catchPanic(tx.Rollback); rerr != nil && !errors.Is(rerr, bolterrors.ErrTxClosed) {
		db.bolt = nil
	}
	db.pendingHeads = heads
	if serr := db.restoreHeads(); serr != nil {
		db.log.Warn("the store accepts no writes until its disk can be written", "err", serr)
	}
	return db.unavailable(err)
}

// restoreHeads brings the file back to the last acknowledged transaction if a later commit failed: it writes
// that transaction's heads and syncs them. Nothing else is written until this succeeds. Reading works as soon
// as the heads are in the page cache.
func (db *DB) restoreHeads() error {
	if db.pendingHeads == nil {
		return nil
	}
	if db.bolt != nil {
		if err := catchPanic(db.bolt.Close); err != nil {
			db.log.Warn("close the store's file", "err", err)
		}
		db.bolt = nil
	}
	// Try twice: the kernel reports an earlier failed write once per descriptor, so the first sync may return
	// an old error. Write again before the second sync, because a failed sync marks the pages as clean.
	_, werr := db.file.WriteAt(db.pendingHeads, 0)
	serr := unix.Fdatasync(int(db.file.Fd()))
	if werr != nil || serr != nil {
		_, werr = db.file.WriteAt(db.pendingHeads, 0)
		serr = unix.Fdatasync(int(db.file.Fd()))
	}
	if werr != nil {
		return werr
	}
	if err := db.openBolt(); err != nil {
		return err
	}
	if serr == nil {
		db.pendingHeads = nil
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
		return e.WithHint("look for disk errors with dmesg (the disk below %s); the store goes on once writes succeed", db.dir)
	}
	return e
}

// catchPanic runs fn and turns a panic of bbolt into an error, also the memory fault of an unreadable page: the
// file is mapped, so a bad sector would otherwise end the process and with it the routing of every app.
func catchPanic(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("bbolt: %v", r)
		}
	}()
	return fn()
}
