package kv_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/protoduction/micro/store/boltkv"
	"github.com/protoduction/micro/store/kv"
)

func open(t *testing.T) kv.Engine {
	t.Helper()
	db, err := boltkv.Open(boltkv.Config{Dir: filepath.Join(t.TempDir(), "store"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestReplace moves a store into another engine while it is watched.
func TestReplace(t *testing.T) {
	old, next := open(t), open(t)
	s := kv.NewSwitch(old)
	for _, key := range []string{"a", "b", "locks/c"} {
		if _, err := s.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: key, Value: []byte(key)}}}); err != nil {
			t.Fatal(err)
		}
	}
	epoch := s.Epoch()
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		var last error
		for batch, err := range s.Watch(context.Background(), "", 2) {
			if last = err; err == nil && batch.Rev == 3 {
				close(began)
			}
		}
		ended <- last
	}()
	<-began
	failed := errors.New("no")
	if err := s.Replace(func(kv.Engine) (kv.Engine, error) { return nil, failed }); !errors.Is(err, failed) || s.Epoch() != epoch {
		t.Errorf("got %v, and the epoch %s after %s", err, s.Epoch(), epoch)
	}
	err := s.Replace(func(from kv.Engine) (kv.Engine, error) {
		err := kv.Copy(t.Context(), from, next, func(key string) bool { return strings.HasPrefix(key, "locks/") })
		_ = from.Close() // as the caller does; a watch must not take that for its own end
		return next, err
	})
	if err != nil || s.Epoch() == epoch {
		t.Errorf("got %v, and the epoch is still %s", err, epoch)
	}
	if err := <-ended; !errors.Is(err, kv.ErrCompacted) {
		t.Errorf("the watch ended with %v", err)
	}
	pairs, _, err := s.List(t.Context(), "")
	if err != nil || len(pairs) != 2 || string(pairs[1].Value) != "b" {
		t.Errorf("got %v, %v", pairs, err)
	}
}
