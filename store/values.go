package store

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// Sealer seals secrets for a place, and opens those that it has sealed for the same place.
type Sealer interface {
	Seal(place string, secret []byte) (cloud.Sealed, error)
	Open(place string, s cloud.Sealed) ([]byte, error)
}

// dataKey is where the data key is kept. The Sealer seals it for the place of the same name.
const dataKey = "cloud/key"

// values encrypts the objects that may hold secrets, before they are stored: an environment has passwords in it. It
// uses a data key, which is kept in the store, sealed with the cloud's own key. To open a secret that is sealed with
// the cloud's key takes a hundred times as long, too long for each of ten thousand releases at every start.
//
// A nil *values stores everything as it is.
type values struct{ aead cipher.AEAD }

// encrypted is the first byte of an encrypted value. A value that is not encrypted is JSON and begins with a brace.
const encrypted = 1

// openValues reads the data key, or makes it where there is none.
func openValues(ctx context.Context, cfg Config) (*values, error) {
	kept, err := cfg.Engine.Get(ctx, dataKey)
	if err != nil {
		return nil, err
	}
	if cfg.Keys == nil {
		if kept.Rev != 0 {
			return nil, cloud.Errorf(cloud.Invalid, "the store is encrypted, and there is no key to it")
		}
		return nil, nil
	}
	fresh, err := nothingSealed(ctx, cfg.Engine)
	if err != nil {
		return nil, err
	}
	sealer, err := cfg.Keys(fresh && kept.Rev == 0)
	if err != nil {
		return nil, err
	}
	if kept.Rev == 0 {
		if kept, err = makeDataKey(ctx, cfg.Engine, sealer); err != nil {
			return nil, err
		}
	}
	key, err := sealer.Open(dataKey, cloud.Sealed(kept.Value))
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "the store's data key: %w", err)
	}
	return &values{aead}, nil
}

// nothingSealed reports that no secret was ever sealed with the cloud's key, so that a new one may be made. Stores of
// before there was a data key have the routing secret.
func nothingSealed(ctx context.Context, e kv.Engine) (bool, error) {
	var settings cloud.Settings
	p, err := e.Get(ctx, objectPrefix+string(settings.Key()))
	if err != nil || p.Rev == 0 {
		return true, err
	}
	if err := json.Unmarshal(p.Value, &settings); err != nil {
		return false, cloud.Errorf(cloud.Internal, "the store's %q cannot be read: %w", settings.Key(), err)
	}
	return settings.RoutingSecret == "", nil
}

func makeDataKey(ctx context.Context, e kv.Engine, sealer Sealer) (kv.Pair, error) {
	key := make([]byte, chacha20poly1305.KeySize)
	rand.Read(key) // never fails
	sealed, err := sealer.Seal(dataKey, key)
	if err != nil {
		return kv.Pair{}, err
	}
	_, err = e.Commit(ctx, kv.Txn{If: []kv.Cond{kv.Absent(dataKey)}, Put: []kv.Put{{Key: dataKey, Value: []byte(sealed)}}})
	if err != nil && !errors.Is(err, kv.ErrConflict) { // in a conflict another node was first, and its key counts
		return kv.Pair{}, cloud.Errorf(cloud.Unavailable, "write the store's data key: %w", err)
	}
	return e.Get(ctx, dataKey)
}

// encrypt returns what is stored for a value of an engine's key.
func (v *values) encrypt(key string, value []byte) []byte {
	if v == nil || !mayHoldSecrets(key) {
		return value
	}
	out := make([]byte, 1+v.aead.NonceSize(), 1+v.aead.NonceSize()+len(value)+v.aead.Overhead())
	out[0] = encrypted
	nonce := out[1:]
	rand.Read(nonce) // never fails
	return v.aead.Seal(out, nonce, value, []byte(key))
}

// decrypt returns the value that encrypt was given.
func (v *values) decrypt(key string, stored []byte) ([]byte, error) {
	if len(stored) == 0 || stored[0] != encrypted {
		return stored, nil
	}
	if v == nil {
		return nil, cloud.Errorf(cloud.Internal, "the store's %q is encrypted", key)
	}
	n := v.aead.NonceSize()
	if len(stored) < 1+n {
		return nil, cloud.Errorf(cloud.Internal, "the store's %q is cut off", key)
	}
	value, err := v.aead.Open(nil, stored[1:1+n], stored[1+n:], []byte(key))
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "the store's %q was not encrypted for its place with the store's key, or was changed", key)
	}
	return value, nil
}

func mayHoldSecrets(key string) bool {
	object, ok := strings.CutPrefix(key, objectPrefix)
	return ok && cloud.Key(object).MayHoldSecrets()
}
