package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/boltkv"
	"github.com/protoduction/micro/store/kv"
	"github.com/protoduction/micro/store/seal"
)

// keyFile returns a Config's Keys with the key in a file, which is made where nothing was ever sealed.
func keyFile(path string) func(bool) (Sealer, error) {
	return func(fresh bool) (Sealer, error) {
		if fresh {
			return seal.Make(path)
		}
		return seal.Load(path)
	}
}

const canary = "canary-5f2c91"

func putCanary(*cloud.State) ([]cloud.Change, error) {
	ref := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	spec := cloud.Spec{Env: map[string]string{"PASSWORD": canary}}
	return []cloud.Change{
		cloud.Put(&cloud.App{AppRef: ref, Env: map[string]string{"EARLY": canary}}),
		cloud.Put(&cloud.Release{ReleaseRef: ref.Release(1), Spec: spec}),
	}, nil
}

func checkCanary(t *testing.T, s *Store) {
	t.Helper()
	app, _ := s.State().App(cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"})
	rel, ok := s.State().Release(cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}.Release(1))
	if !ok || rel.Spec.Env["PASSWORD"] != canary || app.Env["EARLY"] != canary {
		t.Errorf("read back: %+v, %+v", app, rel)
	}
}

// filesWith returns the files below dir that contain a text.
func filesWith(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSecretsAreEncrypted(t *testing.T) {
	dir, key := memoryDir(t), filepath.Join(t.TempDir(), "key")
	e, err := boltkv.Open(boltkv.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t, Config{Engine: e, Keys: keyFile(key)})
	update(t, s, putCanary)
	checkCanary(t, s)
	if _, err := e.Backup("copy"); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if found := filesWith(t, dir, canary); found != nil {
		t.Errorf("in clear in %v", found)
	}
	if found := filesWith(t, dir, "default/shop"); len(found) != 2 {
		t.Errorf("the search sees the store and its copy? %v", found)
	}
	open := func(keys func(bool) (Sealer, error)) (*Store, error) {
		e, err := boltkv.Open(boltkv.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		s, err := Open(t.Context(), Config{Engine: e, Keys: keys})
		if err != nil {
			_ = e.Close()
		}
		return s, err
	}
	for what, keys := range map[string]func(bool) (Sealer, error){
		"no key":      nil,
		"another key": func(bool) (Sealer, error) { return seal.Make(filepath.Join(t.TempDir(), "other")) },
		"a lost key":  keyFile(filepath.Join(t.TempDir(), "lost")),
	} {
		if _, err := open(keys); err == nil {
			t.Errorf("opened with %s", what)
		}
	}
	if s, err = open(keyFile(key)); err != nil {
		t.Fatal(err)
	}
	checkCanary(t, s)
}

// A value that was moved to another key, or changed, is refused.
func TestEncryptedValueIsBound(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	e := newEngine(t, memoryDir(t))
	s := newStore(t, Config{Engine: e, Keys: keyFile(key)})
	update(t, s, putCanary)
	from, err := e.Get(t.Context(), objectPrefix+"releases/default/shop/00000001")
	if err != nil || from.Rev == 0 {
		pairs, _, _ := e.List(t.Context(), objectPrefix)
		t.Fatalf("%v: %v", err, pairs)
	}
	for what, pair := range map[string]kv.Put{
		"moved":   {Key: objectPrefix + "releases/default/shop/00000002", Value: from.Value},
		"changed": {Key: from.Key, Value: append(bytes.Clone(from.Value[:len(from.Value)-1]), from.Value[len(from.Value)-1]^1)},
		"cut off": {Key: from.Key, Value: from.Value[:10]},
	} {
		if _, err := e.Commit(t.Context(), kv.Txn{Put: []kv.Put{pair}}); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Config{Engine: e, Keys: keyFile(key)}); cloud.CodeOf(err) != cloud.Internal {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := e.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: from.Key, Value: from.Value}}, Del: without(pair.Key, from.Key)}); err != nil {
			t.Fatal(err)
		}
	}
}

func without(key, kept string) []string {
	if key == kept {
		return nil
	}
	return []string{key}
}

// A store of before there was a data key is encrypted when it is opened, also where that was cut short.
func TestEncryptOldStore(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	cfg := oldEngine(t, "version1.db.gz")
	cfg.Keys = keyFile(key)
	cut := &failing{Engine: cfg.Engine, left: 4}
	if _, err := Open(t.Context(), Config{Engine: cut, Keys: cfg.Keys}); !errors.Is(err, errCut) {
		t.Fatalf("it was not cut short: %v", err)
	}
	s := newStore(t, cfg)
	rel, _ := s.State().Release(cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}.Release(1))
	if rel == nil || rel.Spec.Env["A"] != "1" {
		t.Errorf("r1 is %+v", rel)
	}
	pairs, _, err := cfg.Engine.List(t.Context(), objectPrefix)
	if err != nil {
		t.Fatal(err)
	}
	secret := 0
	for _, p := range pairs {
		if mayHoldSecrets(p.Key) {
			secret++
			if p.Value[0] != encrypted {
				t.Errorf("%s is in clear", p.Key)
			}
		}
	}
	if secret < 3 {
		t.Errorf("only %d objects may hold secrets", secret)
	}
}

var errCut = errors.New("cut")

// failing is an engine that fails after a number of transactions.
type failing struct {
	kv.Engine
	left int
}

func (f *failing) Commit(ctx context.Context, t kv.Txn) (int64, error) {
	if f.left--; f.left < 0 {
		return 0, errCut
	}
	return f.Engine.Commit(ctx, t)
}
