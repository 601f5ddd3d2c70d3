package kv

import (
	"context"
	"iter"
	"sync"
	"time"
)

// Switch is an Engine whose engine can be replaced while it is used: a store moves from a file into etcd, or a node gets
// a copy of the store of its own. A watch ends with ErrCompacted when that happens, so its reader reads everything again.
type Switch struct {
	mu       sync.RWMutex // held for writing while the engine is replaced, and for reading by each request
	engine   Engine
	replaced chan struct{} // closed when the engine is replaced
}

var _ Engine = (*Switch)(nil)

// NewSwitch returns a Switch on an engine.
func NewSwitch(e Engine) *Switch { return &Switch{engine: e, replaced: make(chan struct{})} }

// Replace replaces the engine by the one that next returns. No request runs meanwhile. After an error the old engine
// stays. The caller closes the old engine.
func (s *Switch) Replace(next func(old Engine) (Engine, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := next(s.engine)
	if err != nil {
		return err
	}
	s.engine = e
	close(s.replaced)
	s.replaced = make(chan struct{})
	return nil
}

// Copy copies all pairs of an engine into an empty one, except those whose keys skip returns true for.
func Copy(ctx context.Context, from, to Engine, skip func(key string) bool) error {
	pairs, _, err := from.List(ctx, "")
	if err != nil {
		return err
	}
	return Fill(ctx, pairs, to, skip)
}

// Fill writes pairs into an empty engine, except those whose keys skip returns true for.
func Fill(ctx context.Context, pairs []Pair, to Engine, skip func(key string) bool) error {
	var t Txn
	size := 0
	commit := func() error {
		if len(t.Put) == 0 {
			return nil
		}
		_, err := to.Commit(ctx, t)
		t, size = Txn{}, 0
		return err
	}
	for _, p := range pairs {
		if skip(p.Key) {
			continue
		}
		if n := len(p.Key) + len(p.Value); size+n > MaxBytes || len(t.Put) == DefaultOps {
			if err := commit(); err != nil {
				return err
			}
		}
		t.Put = append(t.Put, Put{Key: p.Key, Value: p.Value})
		size += len(p.Key) + len(p.Value)
	}
	return commit()
}

// Epoch implements Engine.
func (s *Switch) Epoch() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.Epoch()
}

// Get implements Engine.
func (s *Switch) Get(ctx context.Context, key string) (Pair, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.Get(ctx, key)
}

// List implements Engine.
func (s *Switch) List(ctx context.Context, prefix string) ([]Pair, int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.List(ctx, prefix)
}

// Commit implements Engine.
func (s *Switch) Commit(ctx context.Context, t Txn) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.Commit(ctx, t)
}

// Watch implements Engine.
func (s *Switch) Watch(ctx context.Context, prefix string, since int64) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		s.mu.RLock()
		engine, replaced := s.engine, s.replaced
		s.mu.RUnlock()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-replaced:
				cancel()
			case <-ctx.Done():
			}
		}()
		for b, err := range engine.Watch(ctx, prefix, since) {
			if err != nil && s.wasReplaced(replaced) {
				break
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
		if s.wasReplaced(replaced) {
			yield(Batch{}, ErrCompacted)
		}
	}
}

// wasReplaced reports whether a channel of an engine is closed. It waits for the end of a replacement, in which the old
// engine may have been closed already.
func (s *Switch) wasReplaced(replaced <-chan struct{}) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	select {
	case <-replaced:
		return true
	default:
		return false
	}
}

// Compact implements Engine.
func (s *Switch) Compact(ctx context.Context, rev int64) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.Compact(ctx, rev)
}

// Grant implements Leases.
func (s *Switch) Grant(ctx context.Context, ttl time.Duration) (LeaseID, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.Grant(ctx, ttl)
}

// Renew implements Leases.
func (s *Switch) Renew(ctx context.Context, id LeaseID) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.Renew(ctx, id)
}

// Revoke implements Leases.
func (s *Switch) Revoke(ctx context.Context, id LeaseID) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.Revoke(ctx, id)
}

// Close implements Engine.
func (s *Switch) Close() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.Close()
}
