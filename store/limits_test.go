package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// sizeRecorder records the largest transaction.
type sizeRecorder struct {
	kv.Engine
	mu   sync.Mutex
	most int
}

func (m *sizeRecorder) Commit(ctx context.Context, t kv.Txn) (int64, error) {
	m.mu.Lock()
	m.most = max(m.most, len(t.Put)+len(t.Del), len(t.If))
	m.mu.Unlock()
	return m.Engine.Commit(ctx, t)
}

// TestTransactionsFitAnyEngine queues many requests, with refusals and old audit lines: each transaction must stay
// within etcd's default limit, except for a single large request, which is not split.
func TestTransactionsFitAnyEngine(t *testing.T) {
	m := &sizeRecorder{Engine: newEngine(t, memoryDir(t))}
	s := newStore(t, Config{Engine: m, AuditLines: 10})
	for round := range 20 {
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				_, err := s.Update(t.Context(), alice, "test", "", func(*cloud.State) (changes []cloud.Change, _ error) {
					for j := range 1 + i%5 {
						changes = append(changes, cloud.Put(&cloud.Group{Name: cloud.GroupName(fmt.Sprintf("g%d-%d", i, j)), Number: uint32(round)}))
					}
					return changes, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		for i := range 40 {
			s.Refused(alice, "push", fmt.Sprint(i))
		}
		s.flushRefusals(t.Context(), true)
		all.Wait()
	}
	if m.most > kv.DefaultOps || m.most < batchOps {
		t.Errorf("the largest transaction has %d operations; want %d to %d", m.most, batchOps, kv.DefaultOps)
	}
	if kept := s.head.Lines - s.head.Trimmed; kept > 10+2*trimLines {
		t.Errorf("%d audit lines are kept", kept)
	}
	state := update(t, s, func(*cloud.State) (changes []cloud.Change, _ error) {
		for i := range 1000 {
			changes = append(changes, cloud.Put(&cloud.Group{Name: cloud.GroupName(fmt.Sprintf("big-%d", i))}))
		}
		return changes, nil
	})
	if _, ok := state.Group("big-999"); !ok || m.most < 1000 {
		t.Errorf("a large request was split: %d operations", m.most)
	}
}

// lossyEngine loses the answer to one transaction, which is committed or not.
type lossyEngine struct {
	kv.Engine
	lose, happens bool
}

func (f *lossyEngine) Commit(ctx context.Context, t kv.Txn) (int64, error) {
	if !f.lose {
		return f.Engine.Commit(ctx, t)
	}
	f.lose = false
	if f.happens {
		if _, err := f.Engine.Commit(ctx, t); err != nil {
			return 0, err
		}
	}
	return 0, kv.ErrUnknown
}

// TestUnknownOutcome checks that an update with an unknown outcome returns ErrUnknown, and that the next update
// starts from the actual state.
func TestUnknownOutcome(t *testing.T) {
	for _, happens := range []bool{false, true} {
		e := &lossyEngine{Engine: newEngine(t, memoryDir(t))}
		s := startRun(t, newStore(t, Config{Engine: e}))
		update(t, s, count("a"))
		e.lose, e.happens = true, happens
		_, err := s.Update(t.Context(), alice, "test", "", count("a"))
		if cloud.CodeOf(err) != cloud.Unavailable || !errors.Is(err, kv.ErrUnknown) || cloud.HintOf(err) == "" {
			t.Errorf("told %v, hint %q", err, cloud.HintOf(err))
		}
		want := map[bool]string{false: "2: a=2", true: "3: a=3"}[happens]
		wantState(t, update(t, s, count("a")), want)
		if got := lines(t, s); len(got) != int(s.State().Rev()) {
			t.Errorf("%d audit lines for revision %d", len(got), s.State().Rev())
		}
	}
}
