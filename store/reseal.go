package store

import (
	"context"
	"errors"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// ResealDataKey seals the data key again, with the key that seals now. The data key itself stays the same.
func (s *Store) ResealDataKey(ctx context.Context, keys Sealer) error {
	return Reseal(ctx, s.engine, keys, dataKey)
}

// Reseal seals the value of an engine's key again. A value that changes meanwhile is sealed again in its place.
func Reseal(ctx context.Context, e kv.Engine, keys Sealer, key string) error {
	for {
		pair, err := e.Get(ctx, key)
		if err != nil || pair.Rev == 0 || len(pair.Value) == 0 {
			return err
		}
		plain, err := keys.Open(key, cloud.Sealed(pair.Value))
		if err != nil {
			return err
		}
		sealed, err := keys.Seal(key, plain)
		if err != nil {
			return err
		}
		_, err = e.Commit(ctx, kv.Txn{If: []kv.Cond{kv.Unchanged(key, pair.Rev)}, Put: []kv.Put{{Key: key, Value: []byte(sealed)}}})
		if !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}
