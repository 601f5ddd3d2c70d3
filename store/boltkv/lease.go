package boltkv

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// lease is a lease whose keys have not been deleted yet. Leases are kept in memory, because this process holds
// them all. The disk only has their keys (leasedBucket), so that the next process can delete them.
type lease struct {
	ttl   time.Duration
	ends  time.Time
	ended bool // the lease has ended, but deleting its keys failed
	timer *time.Timer
}

// endRetry is how long to wait before another attempt to delete the keys of an ended lease.
const endRetry = time.Second

// Grant implements kv.Engine.
func (db *DB) Grant(ctx context.Context, ttl time.Duration) (kv.LeaseID, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if ttl < time.Second {
		return 0, cloud.Errorf(cloud.Invalid, "a lease of %s is too short: it must be at least 1s", ttl)
	}
	ttl = (ttl + time.Second - 1).Truncate(time.Second)
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return 0, kv.ErrClosed
	}
	id := kv.LeaseID(1 + rand.Int64N(1<<62))
	db.leases[id] = &lease{ttl: ttl, ends: time.Now().Add(ttl), timer: time.AfterFunc(ttl, func() { db.expire(id) })}
	return id, nil
}

// Renew implements kv.Engine.
func (db *DB) Renew(ctx context.Context, id kv.LeaseID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.checkLease(id); err != nil {
		return err
	}
	l := db.leases[id]
	l.ends = time.Now().Add(l.ttl)
	l.timer.Reset(l.ttl)
	return nil
}

// Revoke implements kv.Engine.
func (db *DB) Revoke(ctx context.Context, id kv.LeaseID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.checkLease(id); err != nil {
		return err
	}
	return db.endLease(id)
}

// checkLease returns kv.ErrNoLease if a lease has ended. db.mu must be held.
func (db *DB) checkLease(id kv.LeaseID) error {
	if db.closed {
		return kv.ErrClosed
	}
	l, ok := db.leases[id]
	// Compare the time too: the timer may be late.
	if !ok || l.ended || !time.Now().Before(l.ends) {
		return kv.ErrNoLease
	}
	return nil
}

// expire ends a lease that was not renewed in time. If its keys cannot be deleted, it sets the timer again.
func (db *DB) expire(id kv.LeaseID) {
	db.mu.Lock()
	defer db.mu.Unlock()
	l, ok := db.leases[id]
	if !ok || db.closed || !l.ended && time.Now().Before(l.ends) {
		return // renewed or revoked meanwhile
	}
	l.ended = true
	if err := db.endLease(id); err != nil {
		db.log.Warn("cannot delete the keys of a lease that has ended; trying again", "err", err)
		l.timer.Reset(endRetry)
	}
}

// endLease deletes a lease and, in one transaction, all keys under it. db.mu must be held.
func (db *DB) endLease(id kv.LeaseID) error {
	if err := db.deleteLeased(func(under kv.LeaseID) bool { return under == id }); err != nil {
		return err
	}
	if l, ok := db.leases[id]; ok {
		l.timer.Stop()
		delete(db.leases, id)
	}
	return nil
}

// endOldLeases deletes the keys under leases of an earlier process.
func (db *DB) endOldLeases() {
	db.mu.Lock()
	defer db.mu.Unlock()
	var left []kv.LeaseID
	err := db.viewLocked(func(tx *bbolt.Tx) error {
		left = leasesOf(tx)
		return nil
	})
	if len(left) > 0 && err == nil {
		err = db.deleteLeased(func(kv.LeaseID) bool { return true })
	}
	if err == nil {
		return
	}
	// Start even if the disk is full: the keys are deleted as soon as it can be written.
	db.log.Warn("cannot delete the keys of old leases; trying again", "err", err)
	for _, id := range left {
		db.leases[id] = &lease{ended: true, timer: time.AfterFunc(endRetry, func() { db.expire(id) })}
	}
}

// deleteLeased deletes the keys under the chosen leases in one transaction.
func (db *DB) deleteLeased(chosen func(kv.LeaseID) bool) error {
	batch := kv.Batch{Rev: db.rev + 1}
	err := db.write(func(tx *bbolt.Tx) (err error) {
		var del []string
		if b := tx.Bucket(leasedBucket); b != nil {
			_ = b.ForEach(func(key, record []byte) error {
				if chosen(leaseOf(record)) {
					del = append(del, string(key))
				}
				return nil
			})
		}
		batch.Changes, err = apply(tx, kv.Txn{Del: del}, batch.Rev)
		return err
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	if err == nil {
		db.rev = batch.Rev
		db.history.add(batch)
	}
	return err
}

// setLease records which lease a key is under; 0 for none.
func setLease(tx *bbolt.Tx, key string, id kv.LeaseID) error {
	b := tx.Bucket(leasedBucket)
	switch {
	case id == 0 && b == nil:
		return nil
	case id == 0:
		return b.Delete([]byte(key))
	case b == nil: // stores without leases, also of older versions, don't have the bucket
		var err error
		if b, err = tx.CreateBucket(leasedBucket); err != nil {
			return err
		}
	}
	return b.Put([]byte(key), encodeRecord(key, 0, binary.BigEndian.AppendUint64(nil, uint64(id))))
}

func leaseOf(record []byte) kv.LeaseID {
	if len(record) < recordHead+8 {
		return 0
	}
	return kv.LeaseID(binary.BigEndian.Uint64(record[recordHead:]))
}

// leasesOf lists the leases that have keys.
func leasesOf(tx *bbolt.Tx) (ids []kv.LeaseID) {
	if b := tx.Bucket(leasedBucket); b != nil {
		_ = b.ForEach(func(_, record []byte) error {
			ids = append(ids, leaseOf(record))
			return nil
		})
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
