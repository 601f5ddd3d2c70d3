package vault

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store"
	"github.com/protoduction/micro/store/kv"
	"github.com/protoduction/micro/store/seal"
)

const prefix = "vault/"

// Vault keeps secrets. Its methods may be called from several goroutines at once.
type Vault struct {
	Engine kv.Engine
	Keys   *seal.Keys
}

// Get returns the value of a key, nil where there is none.
func (v *Vault) Get(ctx context.Context, key string) ([]byte, error) {
	pair, err := v.Engine.Get(ctx, prefix+key)
	if err != nil || pair.Rev == 0 {
		return nil, err
	}
	return v.open(pair.Key, pair.Value)
}

func (v *Vault) open(key string, value []byte) ([]byte, error) {
	return v.Keys.Open(key, cloud.Sealed(value))
}

// List returns the values of all keys that start with under.
func (v *Vault) List(ctx context.Context, under string) (map[string][]byte, error) {
	values, _, err := v.list(ctx, under)
	return values, err
}

func (v *Vault) list(ctx context.Context, under string) (map[string][]byte, int64, error) {
	pairs, rev, err := v.Engine.List(ctx, prefix+under)
	if err != nil {
		return nil, 0, err
	}
	values := make(map[string][]byte, len(pairs))
	for _, p := range pairs {
		if values[strings.TrimPrefix(p.Key, prefix)], err = v.open(p.Key, p.Value); err != nil {
			return nil, 0, err
		}
	}
	return values, rev, nil
}

// Put sets the value of a key.
func (v *Vault) Put(ctx context.Context, key string, value []byte) error {
	return v.put(ctx, key, value, 0)
}

func (v *Vault) put(ctx context.Context, key string, value []byte, lease kv.LeaseID) error {
	sealed, err := v.Keys.Seal(prefix+key, value)
	if err != nil {
		return err
	}
	_, err = v.Engine.Commit(ctx, kv.Txn{Put: []kv.Put{{Key: prefix + key, Value: []byte(sealed), Lease: lease}}})
	return err
}

// PutFor sets the value of a key for a time, after which the key goes by itself.
func (v *Vault) PutFor(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	lease, err := v.Engine.Grant(ctx, ttl)
	if err != nil {
		return err
	}
	return v.put(ctx, key, value, lease)
}

// Delete removes keys.
func (v *Vault) Delete(ctx context.Context, keys ...string) error {
	t := kv.Txn{}
	for _, k := range keys {
		t.Del = append(t.Del, prefix+k)
	}
	_, err := v.Engine.Commit(ctx, t)
	return err
}

// Reseal seals all values again, with the key that seals now. Values that temporary returns a time for, by their keys, were
// put for a time: they get that time anew.
func (v *Vault) Reseal(ctx context.Context, temporary func(key string) time.Duration) error {
	pairs, _, err := v.Engine.List(ctx, prefix)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		key := strings.TrimPrefix(p.Key, prefix)
		if strings.HasPrefix(key, "locks/") {
			continue
		}
		if ttl := temporary(key); ttl > 0 {
			value, err := v.open(p.Key, p.Value)
			if err == nil {
				err = v.PutFor(ctx, key, value, ttl)
			}
			if err != nil {
				return err
			}
			continue
		}
		if err := store.Reseal(ctx, v.Engine, v.Keys, p.Key); err != nil {
			return err
		}
	}
	return nil
}

// lockLife is how long a lock outlives its holder.
const lockLife = 15 * time.Second

// Lock takes a lock that one node of the cloud has at a time; the error is a Conflict where another has it. held ends
// when the lock is lost or given back.
func (v *Vault) Lock(ctx context.Context, name string) (held context.Context, unlock func(), err error) {
	lease, err := v.Engine.Grant(ctx, lockLife)
	if err != nil {
		return nil, nil, err
	}
	key := prefix + "locks/" + name
	_, err = v.Engine.Commit(ctx, kv.Txn{If: []kv.Cond{kv.Absent(key)}, Put: []kv.Put{{Key: key, Value: []byte{}, Lease: lease}}})
	if err != nil {
		_ = v.Engine.Revoke(ctx, lease) // it ends by itself too
		if errors.Is(err, kv.ErrConflict) {
			err = cloud.Errorf(cloud.Conflict, "%s is under way on another node", name)
		}
		return nil, nil, err
	}
	held, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		t := time.NewTicker(lockLife / 3)
		defer t.Stop()
		renewed := time.Now()
		for {
			select {
			case <-held.Done():
				return
			case <-t.C:
			}
			err := v.Engine.Renew(held, lease)
			switch {
			case err == nil:
				renewed = time.Now()
			case errors.Is(err, kv.ErrNoLease), time.Since(renewed) > lockLife*2/3:
				return
			}
		}
	}()
	return held, func() {
		cancel()
		<-done
		_ = v.Engine.Revoke(context.WithoutCancel(ctx), lease) // it ends by itself too
	}, nil
}

// retryAfter is the pause after a watch that ended.
const retryAfter = time.Second

// Follow calls changed with all values below a prefix, at once and again after each change, until ctx ends.
func (v *Vault) Follow(ctx context.Context, under string, changed func(map[string][]byte, error)) {
	for ctx.Err() == nil {
		values, rev, err := v.list(ctx, under)
		if ctx.Err() == nil {
			changed(values, err)
		}
		if err == nil {
			for batch, watchErr := range v.Engine.Watch(ctx, prefix+under, rev) {
				if watchErr != nil {
					break
				}
				_ = batch // all is read again: it changes once in weeks
				if values, _, err := v.list(ctx, under); ctx.Err() == nil {
					changed(values, err)
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter):
		}
	}
}
