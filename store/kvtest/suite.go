package kvtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// Open opens the engine with its data in dir, and creates it if needed.
type Open func(dir string) (kv.Engine, error)

// Run tests an engine.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"conditions", testConditions},
		{"refuses", testRefuses},
		{"list", testList},
		{"reopen", testReopen},
		{"watch", testWatch},
		{"watch many", testWatchMany},
		{"watch ends", testWatchEnds},
		{"compaction", testCompaction},
		{"many writers", testManyWriters},
		{"model", testModel},
		{"crash", testCrash},
		{"outcome", testOutcome},
		{"lease ends", testLeaseEnds},
		{"lease is revoked", testLeaseRevoked},
		{"lease and reopening", testLeaseReopened},
		{"one leader", testOneLeader},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

// memoryDir returns a folder in memory, if possible, for tests that don't depend on the disk.
func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "kv")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func engine(t testing.TB, open Open, dir string) kv.Engine {
	t.Helper()
	e, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func commit(t testing.TB, e kv.Engine, txn kv.Txn) int64 {
	t.Helper()
	rev, err := e.Commit(t.Context(), txn)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func put(keysAndValues ...string) kv.Txn {
	var txn kv.Txn
	for pair := range slices.Chunk(keysAndValues, 2) {
		txn.Put = append(txn.Put, kv.Put{Key: pair[0], Value: []byte(pair[1])})
	}
	return txn
}

func testConditions(t *testing.T, open Open) {
	e := engine(t, open, memoryDir(t))
	first := commit(t, e, put("a", "1"))
	second := commit(t, e, put("b", ""))
	for _, c := range []struct {
		when  string
		conds []kv.Cond
		holds bool
	}{
		{"no condition", nil, true},
		{"a is as written", []kv.Cond{kv.Unchanged("a", first)}, true},
		{"a is not that of b", []kv.Cond{kv.Unchanged("a", second)}, false},
		{"a is there", []kv.Cond{kv.Present("a")}, true},
		{"an empty value is a value", []kv.Cond{kv.Present("b")}, true},
		{"a is not absent", []kv.Cond{kv.Absent("a")}, false},
		{"c is absent", []kv.Cond{kv.Absent("c")}, true},
		{"c unchanged from nothing", []kv.Cond{kv.Unchanged("c", 0)}, true},
		{"c is not there", []kv.Cond{kv.Present("c")}, false},
		{"c is not of the first", []kv.Cond{kv.Unchanged("c", first)}, false},
		{"all must hold", []kv.Cond{kv.Present("a"), kv.Absent("b")}, false},
		{"all hold", []kv.Cond{kv.Unchanged("a", first), kv.Unchanged("b", second), kv.Absent("c")}, true},
	} {
		txn := put("seen", c.when)
		txn.If = c.conds
		before, _ := e.Get(t.Context(), "seen")
		rev, err := e.Commit(t.Context(), txn)
		after, gerr := e.Get(t.Context(), "seen")
		switch {
		case gerr != nil:
			t.Fatal(gerr)
		case c.holds && (err != nil || after.Rev != rev || string(after.Value) != c.when):
			t.Errorf("%s: got revision %d, error %v, then %+v", c.when, rev, err, after)
		case !c.holds && (!errors.Is(err, kv.ErrConflict) || after.Rev != before.Rev):
			t.Errorf("%s: got error %v and revision %d, want a conflict and %d", c.when, err, after.Rev, before.Rev)
		}
	}
	_, last, _ := e.List(t.Context(), "")
	if rev := commit(t, e, kv.Txn{Del: []string{"never"}}); rev != last {
		t.Errorf("deleting what is not there made revision %d of %d", rev, last)
	}
	if rev := commit(t, e, kv.Txn{Del: []string{"a"}}); rev != last+1 {
		t.Errorf("deleting made revision %d, want %d", rev, last+1)
	}
	if p, err := e.Get(t.Context(), "a"); err != nil || p.Rev != 0 || p.Value != nil {
		t.Errorf("deleted, yet: %+v, %v", p, err)
	}
}

func testRefuses(t *testing.T, open Open) {
	e := engine(t, open, memoryDir(t))
	for name, txn := range map[string]kv.Txn{
		"no key":          put("", "x"),
		"twice":           put("a", "1", "a", "2"),
		"put and deleted": {Put: put("a", "1").Put, Del: []string{"a"}},
		"too many":        {Del: make([]string, kv.MaxOps+1)},
		"too large":       put("a", string(make([]byte, kv.MaxBytes))),
	} {
		if _, err := e.Commit(t.Context(), txn); cloud.CodeOf(err) != cloud.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Commit(done, put("a", "1")); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled commit: %v", err)
	}
	if pairs, rev, err := e.List(t.Context(), ""); len(pairs) != 0 || rev != 0 || err != nil {
		t.Errorf("something is left: %v at %d, %v", pairs, rev, err)
	}
}

func testList(t *testing.T, open Open) {
	e := engine(t, open, memoryDir(t))
	commit(t, e, put("b/2", "x", "a", "x", "b/1", "x", "b0", "x", "b/\xff", "x"))
	last := commit(t, e, put("b/1", "y"))
	pairs, rev, err := e.List(t.Context(), "b/")
	if err != nil || rev != last {
		t.Fatalf("revision %d (%v), want %d", rev, err, last)
	}
	if got, want := showPairs(pairs), "b/1=y@2 b/2=x@1 b/\xff=x@1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	pairs[0].Value[0] = 'z' // the list must be a copy
	if p, _ := e.Get(t.Context(), "b/1"); string(p.Value) != "y" {
		t.Errorf("a list shares its memory with the engine: %q", p.Value)
	}
}

func testReopen(t *testing.T, open Open) {
	dir := memoryDir(t)
	e := engine(t, open, dir)
	rev := commit(t, e, put("a", "1"))
	epoch := e.Epoch()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Get(t.Context(), "a"); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("a closed engine answers: %v", err)
	}
	e = engine(t, open, dir)
	if p, err := e.Get(t.Context(), "a"); err != nil || p.Rev != rev || string(p.Value) != "1" {
		t.Errorf("after opening again: %+v, %v", p, err)
	}
	if e.Epoch() != epoch || epoch == "" {
		t.Errorf("epoch %q became %q", epoch, e.Epoch())
	}
	if next := commit(t, e, put("a", "2")); next != rev+1 {
		t.Errorf("revision %d follows %d", next, rev)
	}
	if other := engine(t, open, memoryDir(t)); other.Epoch() == epoch {
		t.Errorf("two stores share the epoch %q", epoch)
	}
}

func testManyWriters(t *testing.T, open Open) {
	e := engine(t, open, memoryDir(t))
	commit(t, e, put("n", "0"))
	const writers, each = 8, 25
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				for add(t, e) != nil {
				}
			}
		})
	}
	all.Wait()
	if p, err := e.Get(t.Context(), "n"); err != nil || string(p.Value) != fmt.Sprint(writers*each) {
		t.Errorf("%d writers counted to %s (%v), want %d", writers, p.Value, err, writers*each)
	}
}

// add increments a counter, or returns the conflict that prevented it.
func add(t *testing.T, e kv.Engine) error {
	p, err := e.Get(t.Context(), "n")
	if err != nil {
		t.Error(err)
		return nil
	}
	var n int
	_, _ = fmt.Sscan(string(p.Value), &n)
	txn := put("n", fmt.Sprint(n+1))
	txn.If = []kv.Cond{kv.Unchanged("n", p.Rev)}
	_, err = e.Commit(t.Context(), txn)
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		t.Error(err)
		return nil
	}
	return err
}
