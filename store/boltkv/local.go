package boltkv

import (
	"go.etcd.io/bbolt"

	"github.com/protoduction/micro/store/kv"
)

// Local returns the node's own facts. They are in the same file and don't count in revisions.
func (db *DB) Local() kv.Local { return local{db} }

type local struct{ db *DB }

func (l local) Get(key string) (value []byte, err error) {
	err = l.db.view(func(tx *bbolt.Tx) error {
		record := tx.Bucket(localBucket).Get([]byte(key))
		if record == nil {
			return nil
		}
		pair, err := l.db.decodeRecord([]byte(key), record)
		value = pair.Value
		return err
	})
	return value, err
}

func (l local) List(prefix string) (pairs []kv.Pair, err error) {
	err = l.db.view(func(tx *bbolt.Tx) (err error) {
		pairs, err = l.db.list(tx.Bucket(localBucket), prefix)
		return err
	})
	return pairs, err
}

func (l local) Put(pairs ...kv.Pair) error {
	return l.write(func(b *bbolt.Bucket) error {
		for _, p := range pairs {
			if err := b.Put([]byte(p.Key), encodeRecord(p.Key, 0, p.Value)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l local) Delete(keys ...string) error {
	return l.write(func(b *bbolt.Bucket) error {
		for _, key := range keys {
			if err := b.Delete([]byte(key)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l local) write(fn func(*bbolt.Bucket) error) error {
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	return l.db.write(func(tx *bbolt.Tx) error { return fn(tx.Bucket(localBucket)) })
}
