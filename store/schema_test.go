package store

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

func TestStoreFromTheFuture(t *testing.T) {
	e := newEngine(t, memoryDir(t))
	cfg := Config{Engine: e, Version: "9.1"}
	if err := migrate(t.Context(), cfg, []migration{nil, nil}); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{Engine: e, Version: "0.3"})
	if cloud.CodeOf(err) != cloud.Invalid || err.Error() != "the store was written by micro 9.1 and has version 3; micro 0.3 reads up to 1" {
		t.Errorf("got %v", err)
	}
}

// TestMigrate goes from version 1 to 3, and is cut short in between: it goes on where it was.
func TestMigrate(t *testing.T) {
	dir := memoryDir(t)
	e := newEngine(t, dir)
	s := newStore(t, Config{Engine: e, Version: "1"})
	for _, name := range []cloud.GroupName{"a", "b", "c"} {
		update(t, s, count(name))
	}
	double := func(objects []kv.Pair) (put []kv.Put, del []string, err error) {
		for _, o := range objects {
			put = append(put, kv.Put{Key: o.Key, Value: []byte(strings.Replace(string(o.Value), `"number":1`, `"number":2`, 1))})
		}
		return put, nil, nil
	}
	fails := func([]kv.Pair) ([]kv.Put, []string, error) { return nil, nil, cloud.Errorf(cloud.Internal, "no") }
	drop := func(objects []kv.Pair) ([]kv.Put, []string, error) { return nil, []string{objects[0].Key}, nil }
	cfg := Config{Engine: e, Version: "3", Log: s.log}
	if err := migrate(t.Context(), cfg, []migration{double, fails}); cloud.CodeOf(err) != cloud.Internal {
		t.Errorf("got %v", err)
	}
	if err := migrate(t.Context(), cfg, []migration{fails, drop}); err != nil {
		t.Error(err)
	}
	s = &Store{cfg: cfg, engine: e, log: cfg.Log, changed: make(chan struct{})}
	if err := s.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantState(t, s.State(), "3: b=2 c=2")
	copies, err := filepath.Glob(filepath.Join(dir, "backup", "*-schema[12].db"))
	if err != nil || len(copies) != 2 {
		t.Errorf("the copies kept are %q, %v", copies, err)
	}
}
