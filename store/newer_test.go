package store

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// TestNewerMembersAreKept has an object with members that only a newer micro knows, seen by the watch and at a start. This
// version changes the object again and again; the members stay, until the object goes.
func TestNewerMembersAreKept(t *testing.T) {
	const key = objectPrefix + "groups/a"
	e := newEngine(t, memoryDir(t))
	var log bytes.Buffer
	s := newStore(t, Config{Engine: e, Log: slog.New(slog.NewTextHandler(&log, nil))})
	update(t, s, count("a"))
	startRun(t, s)
	p, err := e.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	head, err := e.Get(t.Context(), headKey)
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(p.Value), "{", `{"later":{"x":[1,2]},`, 1)
	next := strings.Replace(string(head.Value), `"rev":1`, `"rev":2`, 1)
	if _, err := e.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: key, Value: []byte(newer)}, {Key: headKey, Value: []byte(next)}}}); err != nil {
		t.Fatal(err)
	}
	for state := range s.Watch(t.Context()) {
		if state.Rev() == 2 {
			break
		}
	}
	changeTwice := func(s *Store) {
		for range 2 {
			update(t, s, count("a"))
			if p, err := e.Get(t.Context(), key); err != nil || !strings.Contains(string(p.Value), `"later":{"x":[1,2]}`) {
				t.Fatalf("the object is now %s, %v", p.Value, err)
			}
		}
	}
	changeTwice(s)
	changeTwice(newStore(t, Config{Engine: e}))
	if g, _ := newStore(t, Config{Engine: e}).State().Group("a"); g.Number != 5 {
		t.Errorf("the group has number %d", g.Number)
	}
	if n := strings.Count(log.String(), "kind=groups"); n != 1 {
		t.Errorf("warned %d times:\n%s", n, &log)
	}
	last := newStore(t, Config{Engine: e})
	update(t, last, remove("a"))
	update(t, last, count("a"))
	if p, err := e.Get(t.Context(), key); err != nil || strings.Contains(string(p.Value), "later") {
		t.Errorf("another object of the name is %s, %v", p.Value, err)
	}
}

// TestMigrationWaitsForOtherNodes has nodes that read the next version of the store, and some that don't.
func TestMigrationWaitsForOtherNodes(t *testing.T) {
	e := newEngine(t, memoryDir(t))
	s := newStore(t, Config{Engine: e, Version: "1.0"})
	next := append(append([]migration{}, migrations(nil)...), func([]kv.Pair) ([]kv.Put, []string, error) { return nil, nil, nil })
	newest := len(next) + 1
	put := func(name cloud.NodeName, addr string, reads int) {
		update(t, s, func(*cloud.State) ([]cloud.Change, error) {
			n := &cloud.Node{Name: name, Version: "1.0", Reads: reads}
			return []cloud.Change{cloud.Put(n)}, n.Addr.UnmarshalText([]byte(addr))
		})
	}
	cfg := Config{Engine: e, Node: "n1", Version: "2.0", Log: s.log}
	put("n1", "10.0.0.1:1", 3)
	put("n2", "10.0.0.2:1", 3)
	if err := migrate(t.Context(), cfg, next); cloud.CodeOf(err) != cloud.Conflict || !strings.Contains(err.Error(), "node n2, which runs micro 1.0, reads up to 3") {
		t.Errorf("with an older node: %v", err)
	}
	put("n2", "10.0.0.2:1", 0)
	if err := migrate(t.Context(), cfg, next); cloud.CodeOf(err) != cloud.Conflict {
		t.Errorf("with a node that does not say what it reads: %v", err)
	}
	if p, err := e.Get(t.Context(), schemaKey); err != nil || !strings.Contains(string(p.Value), `"version":3`) {
		t.Errorf("the store has %s, %v", p.Value, err)
	}
	put("n2", "10.0.0.2:1", newest)
	if err := migrate(t.Context(), cfg, next); err != nil {
		t.Errorf("with nodes that read it: %v", err)
	}
}

func TestReadable(t *testing.T) {
	if Readable < len(migrations(nil))+1 {
		t.Errorf("this micro reads versions up to %d, and migrates to %d", Readable, len(migrations(nil))+1)
	}
}
