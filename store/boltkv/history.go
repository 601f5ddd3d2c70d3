package boltkv

import (
	"context"
	"iter"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/protoduction/micro/store/kv"
)

// Limits of the history. A watcher that lags further behind must read everything again.
const (
	historyBatches = 10_000
	historyBytes   = 16 << 20
)

// history keeps the newest transactions for watchers.
type history struct {
	mu      sync.Mutex
	batches []kv.Batch // by revision, without gaps after floor
	bytes   int
	floor   int64         // transactions up to this revision are deleted
	rev     int64         // of the newest transaction
	more    chan struct{} // closed and replaced with every change of the fields above
	closed  bool
}

func newHistory(rev int64) *history {
	return &history{floor: rev, rev: rev, more: make(chan struct{})}
}

func (h *history) add(b kv.Batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.batches, h.rev, h.bytes = append(h.batches, b), b.Rev, h.bytes+weight(b)
	drop, bytes := max(0, len(h.batches)-historyBatches), h.bytes
	for i, b := range h.batches {
		if i >= drop && bytes <= historyBytes {
			drop = i
			break
		}
		bytes -= weight(b)
	}
	h.forget(drop)
	h.wake()
}

// compact deletes the transactions up to rev. A rev in the future counts as the newest.
func (h *history) compact(rev int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget(h.indexAfter(rev))
	h.floor = max(h.floor, min(rev, h.rev))
	h.wake()
}

func (h *history) forget(n int) {
	if n == 0 {
		return
	}
	for _, b := range h.batches[:n] {
		h.bytes -= weight(b)
		h.floor = b.Rev
	}
	h.batches = slices.Delete(h.batches, 0, n)
}

func (h *history) wake() {
	close(h.more)
	h.more = make(chan struct{})
}

func (h *history) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		h.wake()
	}
}

// indexAfter returns the index of the first batch after rev.
func (h *history) indexAfter(rev int64) int {
	return sort.Search(len(h.batches), func(i int) bool { return h.batches[i].Rev > rev })
}

// since returns the batches after rev, and a channel that is closed when there are more.
func (h *history) since(rev int64) ([]kv.Batch, <-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, nil, kv.ErrClosed
	case rev < h.floor, rev > h.rev:
		return nil, nil, kv.ErrCompacted
	}
	return slices.Clone(h.batches[h.indexAfter(rev):]), h.more, nil
}

func (h *history) watch(ctx context.Context, prefix string, since int64) iter.Seq2[kv.Batch, error] {
	return func(yield func(kv.Batch, error) bool) {
		for {
			batches, more, err := h.since(since)
			if err != nil {
				yield(kv.Batch{}, err)
				return
			}
			for _, b := range batches {
				since = b.Rev
				if b = filter(b, prefix); len(b.Changes) > 0 && (ctx.Err() != nil || !yield(b, nil)) {
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-more:
			}
		}
	}
}

func filter(b kv.Batch, prefix string) kv.Batch {
	other := func(c kv.Change) bool { return !strings.HasPrefix(c.Key, prefix) }
	if slices.ContainsFunc(b.Changes, other) {
		b.Changes = slices.DeleteFunc(slices.Clone(b.Changes), other)
	}
	return b
}

func weight(b kv.Batch) int {
	n := 64
	for _, c := range b.Changes {
		n += len(c.Key) + len(c.Value) + 64
	}
	return n
}
