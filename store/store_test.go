package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/boltkv"
	"github.com/protoduction/micro/store/kv"
)

var alice = cloud.Actor{Name: "alice", Role: "developer", Source: "socket uid=1000", RequestID: "r1"}

// memoryDir returns a folder in memory, if possible.
func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "store")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func newEngine(t testing.TB, dir string) *boltkv.DB {
	t.Helper()
	e, err := boltkv.Open(boltkv.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func newStore(t testing.TB, cfg Config) *Store {
	t.Helper()
	if cfg.Engine == nil {
		cfg.Engine = newEngine(t, memoryDir(t))
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// startRun runs the store until the test ends.
func startRun(t *testing.T, s *Store) *Store {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, kv.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

// count returns an update that increments a group's number, so that a lost update shows in the end.
func count(name cloud.GroupName) func(*cloud.State) ([]cloud.Change, error) {
	return func(s *cloud.State) ([]cloud.Change, error) {
		g := &cloud.Group{Name: name, Number: 1}
		if old, ok := s.Group(name); ok {
			g.Number = old.Number + 1
		}
		return []cloud.Change{cloud.Put(g)}, nil
	}
}

func remove(name cloud.GroupName) func(*cloud.State) ([]cloud.Change, error) {
	return func(s *cloud.State) ([]cloud.Change, error) {
		if g, ok := s.Group(name); ok {
			return []cloud.Change{cloud.Delete(g)}, nil
		}
		return nil, nil
	}
}

func update(t testing.TB, s *Store, fn func(*cloud.State) ([]cloud.Change, error)) *cloud.State {
	t.Helper()
	state, err := s.Update(t.Context(), alice, "test", "a thing", fn)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// show formats a state as "7: a=1 b=2".
func show(s *cloud.State) string {
	words := []string{fmt.Sprintf("%d:", s.Rev())}
	for g := range s.Groups() {
		words = append(words, fmt.Sprintf("%s=%d", g.Name, g.Number))
	}
	return strings.Join(words, " ")
}

func wantState(t *testing.T, s *cloud.State, want string) {
	t.Helper()
	if got := show(s); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUpdate(t *testing.T) {
	var shown []string
	s := newStore(t, Config{OnState: func(s *cloud.State) { shown = append(shown, show(s)) }})
	wantState(t, s.State(), "0:")
	wantState(t, update(t, s, count("a")), "1: a=1")
	wantState(t, update(t, s, count("b")), "2: a=1 b=1")
	wantState(t, update(t, s, count("a")), "3: a=2 b=1")
	wantState(t, update(t, s, remove("b")), "4: a=2")
	wantState(t, update(t, s, remove("b")), "4: a=2") // nothing to do
	denied := cloud.Errorf(cloud.Denied, "no")
	if _, err := s.Update(t.Context(), alice, "test", "", func(*cloud.State) ([]cloud.Change, error) { return nil, denied }); !errors.Is(err, denied) {
		t.Errorf("got %v", err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Update(done, alice, "test", "", count("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	wantState(t, s.State(), "4: a=2")
	if want := []string{"0:", "1: a=1", "2: a=1 b=1", "3: a=2 b=1", "4: a=2"}; !slices.Equal(shown, want) {
		t.Errorf("shown were %q, want %q", shown, want)
	}
}

func TestReopen(t *testing.T) {
	dir := memoryDir(t)
	e := newEngine(t, dir)
	s := newStore(t, Config{Engine: e})
	update(t, s, count("a"))
	update(t, s, count("b"))
	update(t, s, remove("a"))
	epoch := s.Epoch()
	_ = e.Close()
	s = newStore(t, Config{Engine: newEngine(t, dir)})
	wantState(t, s.State(), "3: b=1")
	wantState(t, update(t, s, count("b")), "4: b=2")
	if s.Epoch() != epoch {
		t.Errorf("epoch %s became %s", epoch, s.Epoch())
	}
}

// TestAuditInTransaction checks the engine's transactions: each change must come with its audit line.
func TestAuditInTransaction(t *testing.T) {
	e := newEngine(t, memoryDir(t))
	s := newStore(t, Config{Engine: e})
	_, since, err := e.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, count("a"))
	for b, err := range e.Watch(t.Context(), "", since) {
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, c := range b.Changes {
			keys = append(keys, c.Key)
		}
		slices.Sort(keys)
		if want := []string{"audit/0000000000000001", "cloud/object/groups/a", "cloud/rev"}; !slices.Equal(keys, want) {
			t.Errorf("the transaction changed %q, want %q", keys, want)
		}
		break
	}
}

// TestManyWriters lets two nodes on one engine increment a number together: no update may be lost.
func TestManyWriters(t *testing.T) {
	e := newEngine(t, memoryDir(t))
	nodes := []*Store{startRun(t, newStore(t, Config{Engine: e})), startRun(t, newStore(t, Config{Engine: e}))}
	const writers, each = 6, 20
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for range each {
				s, err := nodes[i%2].Update(t.Context(), alice, "count", "", count("a"))
				if err != nil {
					t.Error(err)
				} else if s.Rev() == 0 {
					t.Error("revision 0 after a change")
				}
			}
		})
	}
	all.Wait()
	for _, s := range nodes {
		for state := range s.Watch(t.Context()) {
			if g, ok := state.Group("a"); ok && g.Number == writers*each {
				break
			}
		}
		if n := len(lines(t, s)); n != writers*each {
			t.Errorf("%d audit lines of %d changes", n, writers*each)
		}
		wantState(t, newStore(t, Config{Engine: e}).State(), show(s.State()))
	}
}

func TestWatchNeverMissesTheLast(t *testing.T) {
	s := newStore(t, Config{})
	go func() {
		for range 200 {
			_, _ = s.Update(t.Context(), alice, "count", "", count("a"))
		}
	}()
	last := cloud.Revision(0)
	for state := range s.Watch(t.Context()) {
		if state.Rev() < last {
			t.Errorf("revision %d after %d", state.Rev(), last)
		}
		if last = state.Rev(); last == 200 {
			break
		}
	}
	if last != 200 {
		t.Errorf("the watch ended after revision %d", last)
	}
}

// gate is an engine that can be made to wait or fail.
type gate struct {
	kv.Engine
	mu      sync.Mutex
	entered chan struct{} // gets a value for each commit, if not nil
	err     error
	commits int
}

func (g *gate) Commit(ctx context.Context, txn kv.Txn) (int64, error) {
	g.mu.Lock()
	g.commits++
	entered, err := g.entered, g.err
	g.mu.Unlock()
	if entered != nil {
		entered <- struct{}{} // the commit has begun
		entered <- struct{}{} // wait for permission to go on
	}
	if err != nil {
		return 0, err
	}
	return g.Engine.Commit(ctx, txn)
}

// TestTogether lets updates wait for a running one: they must share the next transaction.
func TestTogether(t *testing.T) {
	g := &gate{Engine: newEngine(t, memoryDir(t))}
	s := newStore(t, Config{Engine: g})
	g.commits, g.entered = 0, make(chan struct{})
	var all sync.WaitGroup
	revs := make([]cloud.Revision, 10)
	all.Go(func() { update(t, s, count("first")) })
	<-g.entered
	for i := range revs {
		all.Go(func() {
			fn := count("a")
			if i == 3 {
				fn = func(*cloud.State) ([]cloud.Change, error) { return nil, errors.New("no") }
			}
			state, err := s.Update(t.Context(), alice, "test", "", fn)
			if (err != nil) != (i == 3) {
				t.Error(err)
			}
			if err == nil {
				revs[i] = state.Rev()
			}
		})
	}
	all.Go(func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not reach the one who asked")
			}
		}()
		_, _ = s.Update(t.Context(), alice, "test", "", func(*cloud.State) ([]cloud.Change, error) { panic("no") })
	})
	for len(s.queued()) < len(revs)+2 {
		runtime.Gosched() // wait until all are queued
	}
	<-g.entered
	<-g.entered
	<-g.entered
	all.Wait()
	if g.commits != 2 {
		t.Errorf("%d transactions, want 2", g.commits)
	}
	wantState(t, s.State(), "2: a=9 first=1")
	for i, rev := range revs {
		if i != 3 && rev != 2 {
			t.Errorf("update %d is of revision %d", i, rev)
		}
	}
	if n := len(lines(t, s)); n != 10 {
		t.Errorf("%d audit lines", n)
	}
}

func (s *Store) queued() []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue
}

func TestEngineFails(t *testing.T) {
	g := &gate{Engine: newEngine(t, memoryDir(t))}
	s := newStore(t, Config{Engine: g})
	update(t, s, count("a"))
	g.err = cloud.Errorf(cloud.Unavailable, "disk full")
	for range 3 {
		if _, err := s.Update(t.Context(), alice, "test", "", count("a")); !errors.Is(err, g.err) {
			t.Errorf("got %v", err)
		}
		wantState(t, s.State(), "1: a=1")
	}
	g.err = nil
	wantState(t, update(t, s, count("a")), "2: a=2")
	if n := len(lines(t, s)); n != 2 {
		t.Errorf("%d audit lines", n)
	}
}

// TestTooMuch makes an update that exceeds the limit of a transaction: only that one may fail, not many small ones.
func TestTooMuch(t *testing.T) {
	s := newStore(t, Config{})
	big := func(*cloud.State) ([]cloud.Change, error) {
		rel := &cloud.Release{Cause: strings.Repeat("x", kv.MaxBytes)}
		return []cloud.Change{cloud.Put(rel)}, nil
	}
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			fn := count("a")
			if i%10 == 0 {
				fn = big
			}
			if _, err := s.Update(t.Context(), alice, "test", "", fn); (cloud.CodeOf(err) == cloud.Invalid) != (i%10 == 0) {
				t.Errorf("update %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if g, _ := s.State().Group("a"); g.Number != 45 {
		t.Errorf("counted to %d", g.Number)
	}
}

// TestObserved checks that a change of places is decided by all that was written before the head on which it depends, and
// that no other change waits for that.
func TestObserved(t *testing.T) {
	known, fail := int64(-1), error(nil)
	others := true
	s := newStore(t, Config{Observed: func(_ context.Context, rev int64) (bool, error) {
		known = rev
		return others, fail
	}})
	place := func(n int) func(*cloud.State) ([]cloud.Change, error) {
		return func(*cloud.State) ([]cloud.Change, error) {
			a := &cloud.Assignment{ReleaseRef: cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}.Release(n)}
			if others && known < s.headRev {
				return []cloud.Change{cloud.Put(a)}, nil // by what was known before
			}
			a.Reason = "decided anew"
			return []cloud.Change{cloud.Put(a)}, nil
		}
	}
	update := func(fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
		return s.Update(t.Context(), alice, "assign", "shop", fn)
	}
	if _, err := update(func(*cloud.State) ([]cloud.Change, error) {
		return []cloud.Change{cloud.Put(&cloud.Node{Name: "n1"})}, nil
	}); err != nil || known != -1 {
		t.Fatalf("a change without places: known up to %d, %v", known, err)
	}
	for n := range 2 { // each depends on the head of the last
		state, err := update(place(n + 1))
		if err != nil {
			t.Fatal(err)
		}
		if a, ok := state.Assignment(cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}.Release(n + 1)); !ok || a.Reason == "" {
			t.Errorf("change %d of places was decided before all was known: %+v", n, a)
		}
	}
	fail = errors.New("too slow")
	if state, err := update(place(3)); !errors.Is(err, fail) || state != nil {
		t.Errorf("a change that is decided without: %v", err)
	}
	others, fail, known = false, nil, -1
	if _, err := update(place(4)); err != nil {
		t.Error(err)
	}
}
