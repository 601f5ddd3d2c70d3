package kvtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/protoduction/micro/store/kv"
)

// take returns the first n batches of a watch, and the error that ended it early.
func take(ctx context.Context, e kv.Engine, prefix string, since int64, n int) ([]kv.Batch, error) {
	var got []kv.Batch
	for b, err := range e.Watch(ctx, prefix, since) {
		if err != nil {
			return got, err
		}
		if got = append(got, b); len(got) == n {
			break
		}
	}
	return got, nil
}

func testWatch(t *testing.T, open Open) {
	e := engine(t, open, memoryDir(t))
	commit(t, e, put("w/a", "1", "x", "1"))
	commit(t, e, put("x", "2"))
	txn := put("w/b", "3")
	txn.Del = []string{"w/a", "w/none"}
	commit(t, e, txn)
	for since, want := range []string{
		"1: w/a=1; 3: w/b=3 -w/a",
		"3: w/b=3 -w/a",
		"3: w/b=3 -w/a",
	} {
		got, err := take(t.Context(), e, "w/", int64(since), 2-min(since, 1))
		if s := showBatches(got); err != nil || s != want {
			t.Errorf("since %d: got %s, %v; want %s", since, s, err, want)
		}
	}
	if _, err := take(t.Context(), e, "", 4, 1); !errors.Is(err, kv.ErrCompacted) {
		t.Errorf("a watch from a revision to come: %v", err)
	}
}

// testWatchMany runs watchers and writers together: each change must arrive once and in order.
func testWatchMany(t *testing.T, open Open) {
	e := engine(t, open, memoryDir(t))
	const writers, each, watchers = 4, 25, 3
	var all sync.WaitGroup
	for range watchers {
		all.Go(func() {
			got, err := take(t.Context(), e, "k", 0, writers*each)
			if err != nil {
				t.Error(err)
			}
			for i, b := range got {
				if b.Rev != int64(i+1) || len(b.Changes) != 2 {
					t.Errorf("batch %d: %+v", i, b)
				}
			}
		})
	}
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if _, err := e.Commit(t.Context(), put(fmt.Sprint("k", w), fmt.Sprint(i), fmt.Sprint("kk", w), "")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func testWatchEnds(t *testing.T, open Open) {
	e := engine(t, open, memoryDir(t))
	rev := commit(t, e, put("a", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	watch := func(ctx context.Context) {
		_, err := take(ctx, e, "", rev, 1)
		ended <- err
	}
	go watch(ctx)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the end of the caller's context is not an error: %v", err)
	}
	go watch(t.Context())
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, kv.ErrClosed) {
		t.Errorf("closing ends a watch with %v", err)
	}
}

func testCompaction(t *testing.T, open Open) {
	e := engine(t, open, memoryDir(t))
	for i := range 5 {
		commit(t, e, put("a", fmt.Sprint(i)))
	}
	if err := e.Compact(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	for since := range int64(3) {
		if _, err := take(t.Context(), e, "", since, 1); !errors.Is(err, kv.ErrCompacted) {
			t.Errorf("since %d: %v", since, err)
		}
	}
	if got, err := take(t.Context(), e, "", 3, 2); err != nil || len(got) != 2 || got[0].Rev != 4 {
		t.Errorf("since 3: %v, %v", got, err)
	}
	if p, err := e.Get(t.Context(), "a"); err != nil || string(p.Value) != "4" {
		t.Errorf("compaction took the pair: %+v, %v", p, err)
	}
	if err := e.Compact(t.Context(), 2); err != nil { // an older revision, already compacted
		t.Error(err)
	}
	_, rev, err := e.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Compact(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	next := commit(t, e, put("a", "5"))
	if got, err := take(t.Context(), e, "", rev, 1); err != nil || got[0].Rev != next {
		t.Errorf("since the newest: %v, %v", got, err)
	}
}
