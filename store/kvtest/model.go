package kvtest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/protoduction/micro/store/kv"
)

// model is the simplest engine: a map and a list of all changes.
type model struct {
	pairs map[string]kv.Pair
	log   []kv.Batch
}

func (m *model) commit(txn kv.Txn) (int64, error) {
	for _, c := range txn.If {
		if !c.Holds(m.pairs[c.Key].Rev) {
			return 0, kv.ErrConflict
		}
	}
	rev := int64(len(m.log)) + 1
	b := kv.Batch{Rev: rev}
	for _, p := range txn.Put {
		m.pairs[p.Key] = kv.Pair{Key: p.Key, Value: p.Value, Rev: rev}
		b.Changes = append(b.Changes, kv.Change{Key: p.Key, Value: p.Value})
	}
	for _, key := range txn.Del {
		if _, ok := m.pairs[key]; ok {
			delete(m.pairs, key)
			b.Changes = append(b.Changes, kv.Change{Key: key})
		}
	}
	if len(b.Changes) == 0 {
		return rev - 1, nil
	}
	m.log = append(m.log, b)
	return rev, nil
}

func (m *model) list(prefix string) []kv.Pair {
	var pairs []kv.Pair
	for _, key := range slices.Sorted(maps.Keys(m.pairs)) {
		if strings.HasPrefix(key, prefix) {
			pairs = append(pairs, m.pairs[key])
		}
	}
	return pairs
}

// testModel makes the same random calls on engine and model: the results must be equal.
func testModel(t *testing.T, open Open) {
	root, life := memoryDir(t), 0
	key := rapid.SampledFrom([]string{"a", "a/b", "a/c", "b", "b/b/b", "c"})
	value := rapid.SliceOfN(rapid.Byte(), 0, 200)
	rapid.Check(t, func(r *rapid.T) {
		life++
		dir := filepath.Join(root, fmt.Sprint(life))
		defer os.RemoveAll(dir)
		e, err := open(dir)
		if err != nil {
			r.Fatal(err)
		}
		defer func() { _ = e.Close() }()
		m := &model{pairs: map[string]kv.Pair{}}
		opened := 0 // length of the log at the last opening: earlier changes may be compacted
		r.Repeat(map[string]func(*rapid.T){
			"commit": func(r *rapid.T) {
				var txn kv.Txn
				for _, k := range rapid.SliceOfNDistinct(key, 0, 4, rapid.ID).Draw(r, "keys") {
					switch rapid.IntRange(0, 2).Draw(r, "what") {
					case 0:
						txn.Del = append(txn.Del, k)
					default:
						txn.Put = append(txn.Put, kv.Put{Key: k, Value: value.Draw(r, "value")})
					}
				}
				for _, k := range rapid.SliceOfN(key, 0, 2).Draw(r, "conditions") {
					conds := []kv.Cond{kv.Absent(k), kv.Present(k), kv.Unchanged(k, m.pairs[k].Rev), kv.Unchanged(k, m.pairs[k].Rev+1)}
					txn.If = append(txn.If, rapid.SampledFrom(conds).Draw(r, "condition"))
				}
				want, wantErr := m.commit(txn)
				got, err := e.Commit(t.Context(), txn)
				if got != want || !errors.Is(err, wantErr) {
					r.Fatalf("commit gave %d, %v; want %d, %v", got, err, want, wantErr)
				}
			},
			"get": func(r *rapid.T) {
				k := key.Draw(r, "key")
				want := m.pairs[k]
				if got, err := e.Get(t.Context(), k); err != nil || got.Rev != want.Rev || string(got.Value) != string(want.Value) {
					r.Fatalf("got %+v, %v; want %+v", got, err, want)
				}
			},
			"list": func(r *rapid.T) {
				prefix := rapid.SampledFrom([]string{"", "a", "a/", "b/", "z"}).Draw(r, "prefix")
				got, rev, err := e.List(t.Context(), prefix)
				if want := m.list(prefix); err != nil || rev != int64(len(m.log)) || showPairs(got) != showPairs(want) {
					r.Fatalf("got %v at %d, %v; want %v at %d", got, rev, err, want, len(m.log))
				}
			},
			"watch": func(r *rapid.T) {
				since := rapid.IntRange(opened, len(m.log)).Draw(r, "since")
				want := m.log[since:]
				if len(want) == 0 {
					return
				}
				if got, err := take(t.Context(), e, "", int64(since), len(want)); err != nil || showBatches(got) != showBatches(want) {
					r.Fatalf("got %v, %v; want %v", got, err, want)
				}
			},
			"reopen": func(r *rapid.T) {
				if err := e.Close(); err != nil {
					r.Fatal(err)
				}
				if e, err = open(dir); err != nil {
					r.Fatal(err)
				}
				opened = len(m.log)
			},
		})
	})
}
