package store

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

func TestStoreFromTheFuture(t *testing.T) {
	e := newEngine(t, memoryDir(t))
	cfg := Config{Engine: e, Version: "9.1"}
	if err := migrate(t.Context(), cfg, []migration{nil, nil, nil}); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{Engine: e, Version: "0.3"})
	if cloud.CodeOf(err) != cloud.Invalid || err.Error() != "the store was written by micro 9.1 and has version 4; micro 0.3 reads up to 3" {
		t.Errorf("got %v", err)
	}
}

// TestMigrate migrates from version 1 to 3 with an interruption, after which the migration must continue.
func TestMigrate(t *testing.T) {
	dir := memoryDir(t)
	e := newEngine(t, dir)
	s := newStore(t, Config{Engine: e, Version: "1"})
	for _, name := range []cloud.GroupName{"a", "b", "c"} {
		update(t, s, count(name))
	}
	p, err := e.Get(t.Context(), schemaKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeSchema(t.Context(), s.cfg, p.Rev, 1); err != nil {
		t.Fatal(err)
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

// failingEngine fails all commits after the first few.
type failingEngine struct {
	kv.Engine
	n int
}

func (b *failingEngine) Commit(ctx context.Context, t kv.Txn) (int64, error) {
	if b.n--; b.n < 0 {
		return 0, cloud.Errorf(cloud.Unavailable, "no disk")
	}
	return b.Engine.Commit(ctx, t)
}

// TestMigrateSites migrates a store of version 1, whose hosts are below sites/. All hosts must be there after the
// migration, also if it was interrupted at any commit and run again.
func TestMigrateSites(t *testing.T) {
	const hosts = 40
	value := func(i int) string {
		// Large, so that they don't fit into one transaction.
		return fmt.Sprintf(`{"host":"h%02d.example.com","group":"default","exposure":"public","created":"2026-01-01T00:00:00Z","routes":[{"path":"/%s","targets":[]}]}`, i, strings.Repeat("x", 60_000))
	}
	for cut := 0; ; cut++ {
		e := newEngine(t, memoryDir(t))
		if err := migrate(t.Context(), Config{Engine: e}, nil); err != nil {
			t.Fatal(err)
		}
		for i := range hosts {
			txn := kv.Txn{Put: []kv.Put{{Key: fmt.Sprintf("cloud/object/sites/h%02d.example.com", i), Value: []byte(value(i))}}}
			if _, err := e.Commit(t.Context(), txn); err != nil {
				t.Fatal(err)
			}
		}
		broken := &failingEngine{e, cut}
		cfg := Config{Engine: broken, Log: slog.New(slog.DiscardHandler)}
		firstErr := migrate(t.Context(), cfg, migrations(nil))
		s := newStore(t, Config{Engine: e})
		n := 0
		for vhost := range s.State().VirtualHosts() {
			if vhost.Host != cloud.Host(fmt.Sprintf("h%02d.example.com", n)) || vhost.Exposure != cloud.ExposedPublic || len(vhost.Routes) != 1 {
				t.Errorf("cut after %d: host %d is %s", cut, n, vhost.Host)
			}
			n++
		}
		left, _, err := e.List(t.Context(), "cloud/object/sites/")
		if n != hosts || len(left) > 0 || err != nil {
			t.Fatalf("cut after %d commits: %d of %d hosts, %d of them below sites/, %v", cut, n, hosts, len(left), err)
		}
		if firstErr == nil {
			if cut < 4 {
				t.Errorf("it takes %d commits, too few to be cut short in between", cut)
			}
			return
		}
	}
}
