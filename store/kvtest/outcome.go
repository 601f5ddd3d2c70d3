package kvtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// testOutcome cancels callers in the middle of their transactions. The result that a caller got must be true, at
// once and in the end: after success the change is there; after an error it is not and does not appear later.
// After ErrUnknown, the change may be there or not, but not partly.
func testOutcome(t *testing.T, open Open) {
	e := engine(t, open, memoryDir(t))
	const writers, each = 4, 50
	type told struct{ happened, unknown bool }
	var mu sync.Mutex
	all := map[string]told{}
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range each {
				key := fmt.Sprintf("%d/%02d", w, i)
				patience := time.Duration(r.IntN(400)) * time.Microsecond
				switch i {
				case 0:
					patience = 0 // fails for certain
				case 1:
					patience = time.Minute // succeeds for certain
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				_, err := e.Commit(ctx, put(key+"/l", "1", key+"/r", "1"))
				cancel()
				what := told{happened: err == nil, unknown: errors.Is(err, kv.ErrUnknown)}
				if err != nil && !what.unknown && !errors.Is(err, context.DeadlineExceeded) && cloud.CodeOf(err) != cloud.Unavailable {
					t.Errorf("%s: %v", key, err)
				}
				pairs, _, lerr := e.List(context.Background(), key+"/")
				if lerr != nil || !what.unknown && (len(pairs) == 2) != what.happened || len(pairs) == 1 {
					t.Errorf("%s: told %v, there are %d pairs, %v", key, err, len(pairs), lerr)
				}
				mu.Lock()
				all[key] = what
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	for key, what := range all {
		pairs, _, err := e.List(t.Context(), key+"/")
		if err != nil || !what.unknown && (len(pairs) == 2) != what.happened || len(pairs) == 1 {
			t.Errorf("%s: told %+v, in the end there are %d pairs, %v", key, what, len(pairs), err)
		}
	}
}
