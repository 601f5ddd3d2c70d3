package boltkv

import (
	"bytes"
	"context"
	"errors"
	"iter"

	"go.etcd.io/bbolt"

	"github.com/protoduction/micro/store/kv"
)

var _ kv.Engine = (*DB)(nil)

// Epoch implements kv.Engine.
func (db *DB) Epoch() string { return db.epoch }

// Get implements kv.Engine.
func (db *DB) Get(ctx context.Context, key string) (kv.Pair, error) {
	pair := kv.Pair{Key: key}
	if err := ctx.Err(); err != nil {
		return pair, err
	}
	err := db.view(func(tx *bbolt.Tx) error {
		record := tx.Bucket(pairsBucket).Get([]byte(key))
		if record == nil {
			return nil
		}
		var err error
		pair, err = db.decodeRecord([]byte(key), record)
		return err
	})
	return pair, err
}

// List implements kv.Engine.
func (db *DB) List(ctx context.Context, prefix string) ([]kv.Pair, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	db.mu.RLock() // held until the revision is read, which must belong to the pairs
	defer db.mu.RUnlock()
	var pairs []kv.Pair
	err := db.viewLocked(func(tx *bbolt.Tx) error {
		var err error
		pairs, err = db.list(tx.Bucket(pairsBucket), prefix)
		return err
	})
	return pairs, db.rev, err
}

func (db *DB) list(b *bbolt.Bucket, prefix string) ([]kv.Pair, error) {
	var pairs []kv.Pair
	c := b.Cursor()
	for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
		pair, err := db.decodeRecord(k, v)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair)
	}
	return pairs, nil
}

// errNothing rolls back a transaction that would change nothing.
var errNothing = errors.New("nothing to change")

// Commit implements kv.Engine.
func (db *DB) Commit(ctx context.Context, t kv.Txn) (int64, error) {
	if err := errors.Join(t.Validate(), ctx.Err()); err != nil {
		return 0, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, p := range t.Put {
		if p.Lease == 0 {
			continue
		}
		if err := db.checkLease(p.Lease); err != nil {
			return 0, err
		}
	}
	batch := kv.Batch{Rev: db.rev + 1}
	err := db.write(func(tx *bbolt.Tx) (err error) {
		batch.Changes, err = apply(tx, t, batch.Rev)
		return err
	})
	if errors.Is(err, errNothing) {
		return db.rev, nil
	}
	if err != nil {
		return 0, err
	}
	db.rev = batch.Rev
	db.history.add(batch)
	return db.rev, nil
}

func apply(tx *bbolt.Tx, t kv.Txn, rev int64) ([]kv.Change, error) {
	b := tx.Bucket(pairsBucket)
	for _, c := range t.If {
		last := int64(0)
		if record := b.Get([]byte(c.Key)); len(record) >= recordHead {
			last = recordRev(record)
		}
		if !c.Holds(last) {
			return nil, kv.ErrConflict
		}
	}
	var changes []kv.Change
	for _, p := range t.Put {
		if err := b.Put([]byte(p.Key), encodeRecord(p.Key, rev, p.Value)); err != nil {
			return nil, err
		}
		if err := setLease(tx, p.Key, p.Lease); err != nil {
			return nil, err
		}
		changes = append(changes, kv.Change{Key: p.Key, Value: append([]byte{}, p.Value...)})
	}
	for _, key := range t.Del {
		if b.Get([]byte(key)) == nil {
			continue
		}
		if err := errors.Join(b.Delete([]byte(key)), setLease(tx, key, 0)); err != nil {
			return nil, err
		}
		changes = append(changes, kv.Change{Key: key})
	}
	if len(changes) == 0 {
		return nil, errNothing
	}
	return changes, setMeta(tx, metaRev, formatRev(rev))
}

// Watch implements kv.Engine.
func (db *DB) Watch(ctx context.Context, prefix string, since int64) iter.Seq2[kv.Batch, error] {
	return db.history.watch(ctx, prefix, since)
}

// Compact implements kv.Engine.
func (db *DB) Compact(ctx context.Context, rev int64) error {
	db.history.compact(rev)
	return ctx.Err()
}
