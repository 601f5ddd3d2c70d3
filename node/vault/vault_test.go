package vault

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/boltkv"
	"github.com/protoduction/micro/store/kv"
	"github.com/protoduction/micro/store/seal"
)

// newVault returns a vault, and another one over the same store, as another node has it.
func newVault(t *testing.T) (*Vault, *Vault) {
	t.Helper()
	db, err := boltkv.Open(boltkv.Config{Dir: filepath.Join(t.TempDir(), "store"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	keys, err := seal.Make(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	return &Vault{Engine: db, Keys: keys}, &Vault{Engine: db, Keys: keys}
}

// TestSealed: what is kept is sealed for its own place, and found by all nodes.
func TestSealed(t *testing.T) {
	a, b := newVault(t)
	if err := a.Put(t.Context(), "certificates/www.example.com", []byte("a private key")); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Get(t.Context(), "certificates/www.example.com"); err != nil || string(got) != "a private key" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := b.Get(t.Context(), "certificates/other.example.com"); err != nil || got != nil {
		t.Errorf("got %q, %v", got, err)
	}
	pairs, _, err := a.Engine.List(t.Context(), "")
	if err != nil || len(pairs) != 1 || bytes.Contains(pairs[0].Value, []byte("private")) {
		t.Errorf("kept as %v, %v", pairs, err)
	}
	// The value of one key put at another's place is refused.
	if _, err := a.Engine.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: prefix + "certificates/evil.example.com", Value: pairs[0].Value}}}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Get(t.Context(), "certificates/evil.example.com"); err == nil {
		t.Errorf("got %q", got)
	}
	if err := a.Delete(t.Context(), "certificates/evil.example.com", "certificates/none"); err != nil {
		t.Fatal(err)
	}
	all, err := b.List(t.Context(), "certificates/")
	if err != nil || len(all) != 1 || string(all["certificates/www.example.com"]) != "a private key" {
		t.Errorf("got %q, %v", all, err)
	}
}

// TestPutFor: a value that was set for a time goes by itself.
func TestPutFor(t *testing.T) {
	a, b := newVault(t)
	if err := a.PutFor(t.Context(), "tokens/x", []byte("answer"), time.Second); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Get(t.Context(), "tokens/x"); err != nil || string(got) != "answer" {
		t.Errorf("got %q, %v", got, err)
	}
	gone := make(chan bool)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var once sync.Once
	go b.Follow(ctx, "tokens/", func(values map[string][]byte, err error) {
		if err == nil && len(values) == 0 {
			once.Do(func() { close(gone) })
		}
	})
	select {
	case <-gone:
	case <-ctx.Done():
		t.Error("the value is still there")
	}
}

// TestLock: of many that take a lock at the same time one gets it; the next one after it was given back, or after its
// holder lost it.
func TestLock(t *testing.T) {
	a, b := newVault(t)
	var got atomic.Int32
	var unlocks sync.Map
	var tried sync.WaitGroup
	for i := range 20 {
		tried.Go(func() {
			held, unlock, err := []*Vault{a, b}[i%2].Lock(t.Context(), "order of www.example.com")
			switch {
			case err == nil:
				got.Add(1)
				unlocks.Store(i, unlock)
				if held.Err() != nil {
					t.Error(held.Err())
				}
			case cloud.CodeOf(err) != cloud.Conflict || !strings.Contains(err.Error(), "on another node"):
				t.Errorf("got %v", err)
			}
		})
	}
	tried.Wait()
	if got.Load() != 1 {
		t.Fatalf("%d hold the lock", got.Load())
	}
	if _, unlock, err := b.Lock(t.Context(), "order of other.example.com"); err != nil {
		t.Errorf("another lock: %v", err)
	} else {
		unlock()
	}
	unlocks.Range(func(_, unlock any) bool { unlock.(func())(); return true })
	held, unlock, err := b.Lock(t.Context(), "order of www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if held.Err() == nil {
		t.Error("the lock was given back, and its context goes on")
	}
	ctx, cancel := context.WithCancel(t.Context())
	held, unlock, err = b.Lock(ctx, "order of www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-held.Done()
	unlock()
	if _, unlock, err := a.Lock(t.Context(), "order of www.example.com"); err != nil {
		t.Errorf("after its holder has ended: %v", err)
	} else {
		unlock()
	}
}
