package store

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

const (
	laterKey   = objectPrefix + "later/default/x"
	laterValue = `{"b": 1,  "a<": 2}`
)

// writeLater writes an object of an unknown kind, as a newer node of the cloud would.
func writeLater(t *testing.T, e kv.Engine, s *Store) {
	t.Helper()
	s.mu.Lock()
	h := s.head
	s.mu.Unlock()
	h.Rev++
	d := batch{head: h, headRev: 0, values: map[string][]byte{laterKey: []byte(laterValue), laterKey + "y": []byte(laterValue)}}
	txn, err := d.txn()
	if err != nil {
		t.Fatal(err)
	}
	txn.If = nil
	if _, err := e.Commit(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
}

func wantLater(t *testing.T, e kv.Engine) {
	t.Helper()
	if p, err := e.Get(t.Context(), laterKey); err != nil || string(p.Value) != laterValue {
		t.Errorf("the object is now %q, %v", p.Value, err)
	}
}

// TestUnknownKindIsKept watches an object of an unknown kind. It must survive writes, a restart, a migration and a
// restored backup, and cause one warning per start.
func TestUnknownKindIsKept(t *testing.T) {
	dir := memoryDir(t)
	e := newEngine(t, dir)
	var log bytes.Buffer
	s := newStore(t, Config{Engine: e})
	watcher := newStore(t, Config{Engine: e, Log: slog.New(slog.NewTextHandler(&log, nil))})
	update(t, s, count("a"))
	writeLater(t, e, s)
	t.Run("watch", func(t *testing.T) {
		startRun(t, watcher)
		for state := range watcher.Watch(t.Context()) {
			if state.Rev() == 2 {
				break
			}
		}
		update(t, watcher, count("a"))
		update(t, watcher, remove("a"))
	})
	wantLater(t, e)
	if n := strings.Count(log.String(), "kind=later"); n != 1 {
		t.Errorf("warned %d times:\n%s", n, &log)
	}

	path, err := e.Backup("")
	if err != nil {
		t.Fatal(err)
	}
	log.Reset()
	again := newStore(t, Config{Engine: e, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if n := strings.Count(log.String(), "kind=later"); n != 1 {
		t.Errorf("warned %d times at the start:\n%s", n, &log)
	}
	update(t, again, count("b"))
	touch := func(objects []kv.Pair) (put []kv.Put, del []string, err error) {
		for _, o := range objects {
			put = append(put, kv.Put{Key: o.Key, Value: o.Value})
		}
		return put, nil, nil
	}
	steps := append(append([]migration{}, migrations(nil)...), touch)
	if err := migrate(t.Context(), Config{Engine: e, Log: again.log}, steps); err != nil {
		t.Fatal(err)
	}
	wantLater(t, e)

	restored := memoryDir(t)
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(filepath.Join(restored, "store.db"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	e = newEngine(t, restored)
	update(t, newStore(t, Config{Engine: e}), count("c"))
	wantLater(t, e)
}

// TestSchemaChangesWhileRunning migrates the store while another node runs: that node must stop, because it would
// misread later changes.
func TestSchemaChangesWhileRunning(t *testing.T) {
	e := newEngine(t, memoryDir(t))
	s := newStore(t, Config{Engine: e, Version: "1"})
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	newer := append(append([]migration{}, migrations(nil)...), func([]kv.Pair) ([]kv.Put, []string, error) { return nil, nil, nil })
	if err := migrate(t.Context(), Config{Engine: e, Version: "2", Log: s.log}, newer); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if cloud.CodeOf(err) != cloud.Invalid {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it goes on")
	}
}
