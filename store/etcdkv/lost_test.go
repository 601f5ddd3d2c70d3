package etcdkv_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/protoduction/micro/store/etcdkv"
	"github.com/protoduction/micro/store/kv"
)

var errLost = errors.New("the connection broke")

// lossy is an etcd that loses answers: it commits a transaction, or not, or some time after its client has got an error.
type lossy struct {
	clientv3.KV
	mu   sync.Mutex
	r    *rand.Rand
	late sync.WaitGroup
	lost int
}

func (l *lossy) draw(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.IntN(n)
}

func (l *lossy) Txn(ctx context.Context) clientv3.Txn {
	// A running transaction is not cancelled with its client.
	return &lossyTxn{l.KV.Txn(context.WithoutCancel(ctx)), l}
}

type lossyTxn struct {
	clientv3.Txn
	l *lossy
}

func (t *lossyTxn) If(c ...clientv3.Cmp) clientv3.Txn  { t.Txn = t.Txn.If(c...); return t }
func (t *lossyTxn) Then(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(o...); return t }
func (t *lossyTxn) Else(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(o...); return t }

func (t *lossyTxn) Commit() (*clientv3.TxnResponse, error) {
	fate, delay := t.l.draw(8), time.Duration(t.l.draw(20))*time.Millisecond
	switch fate {
	case 0: // never sent
	case 1: // committed, and the answer is lost
		_, _ = t.Txn.Commit()
	case 2, 3: // arrives late
		t.l.late.Go(func() {
			time.Sleep(delay) //nolint:forbidigo // the network's delay
			_, _ = t.Txn.Commit()
		})
	default:
		return t.Txn.Commit()
	}
	t.l.mu.Lock()
	t.l.lost++
	t.l.mu.Unlock()
	return nil, errLost
}

// TestLostAnswers checks that the results which callers got are true even if answers are lost, and stay true after late
// transactions have arrived: a successful change is complete and at its revision, and a failed one is not there.
func TestLostAnswers(t *testing.T) {
	opened, err := open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := opened.(*member)
	t.Cleanup(func() { _ = m.Close() })
	l := &lossy{KV: m.client.KV, r: rand.New(rand.NewPCG(1, 2))}
	broken := clientv3.NewCtxClient(t.Context())
	broken.KV, broken.Watcher = l, m.client.Watcher
	engine := func(name string) *etcdkv.Engine {
		e, err := etcdkv.New(t.Context(), etcdkv.Config{Client: broken, Name: name})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		return e
	}
	const writers, each = 4, 100
	var mu sync.Mutex
	told := map[string]int64{} // the returned revision of each key; 0 if writing failed
	gone := map[string]bool{}  // deleted keys
	var writing sync.WaitGroup
	for w := range writers {
		e := engine(fmt.Sprint("n", w))
		writing.Go(func() {
			for i := range each {
				key := fmt.Sprintf("%d/%03d", w, i)
				rev, err := e.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: key + "/l", Value: []byte("1")}, {Key: key + "/r", Value: []byte("1")}}, If: []kv.Cond{kv.Absent(key + "/l")}})
				if (err == nil) != (rev > 0) || errors.Is(err, kv.ErrUnknown) || errors.Is(err, kv.ErrConflict) {
					t.Errorf("%s: revision %d, %v", key, rev, err)
				}
				deleted := false
				if err == nil && i%3 == 0 {
					_, derr := e.Commit(t.Context(), kv.Txn{Del: []string{key + "/l", key + "/r"}, If: []kv.Cond{kv.Unchanged(key+"/l", rev)}})
					if deleted = derr == nil; errors.Is(derr, kv.ErrUnknown) || errors.Is(derr, kv.ErrConflict) {
						t.Errorf("delete %s: %v", key, derr)
					}
				}
				mu.Lock()
				told[key], gone[key] = rev, deleted
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	l.late.Wait()
	failed := 0
	for key, rev := range told {
		pairs, _, err := m.List(t.Context(), key+"/")
		want := 2
		if rev == 0 || gone[key] {
			want = 0
		}
		if rev == 0 {
			failed++
		}
		if err != nil || len(pairs) != want || want > 0 && (pairs[0].Rev != rev || pairs[1].Rev != rev) {
			t.Errorf("%s was told revision %d, deleted %t; there is %v, %v", key, rev, gone[key], pairs, err)
		}
	}
	if l.lost < writers*each/4 || failed < writers*each/20 {
		t.Errorf("only %d answers were lost and %d changes failed: too few to show anything", l.lost, failed)
	}
}

// leaderless is an etcd whose leader dies with the first transaction.
type leaderless struct {
	clientv3.KV
	changed chan struct{} // closed when there is another leader
	ended   error         // how the context of the lost transaction ended
}

func (l *leaderless) Txn(ctx context.Context) clientv3.Txn {
	if l.ended != nil {
		return l.KV.Txn(ctx)
	}
	return &lostTxn{l.KV.Txn(ctx), l, ctx}
}

type lostTxn struct {
	clientv3.Txn
	l   *leaderless
	ctx context.Context //nolint:containedctx // that of the request
}

func (t *lostTxn) If(...clientv3.Cmp) clientv3.Txn  { return t }
func (t *lostTxn) Then(...clientv3.Op) clientv3.Txn { return t }
func (t *lostTxn) Else(...clientv3.Op) clientv3.Txn { return t }

func (t *lostTxn) Commit() (*clientv3.TxnResponse, error) {
	close(t.l.changed)
	<-t.ctx.Done()
	t.l.ended = t.ctx.Err()
	t.l.changed = make(chan struct{})
	return nil, t.l.ended
}

// TestNewLeader checks that a transaction which was lost with etcd's leader is sent again as soon as there is another one.
func TestNewLeader(t *testing.T) {
	opened, err := open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := opened.(*member)
	t.Cleanup(func() { _ = m.Close() })
	l := &leaderless{KV: m.client.KV, changed: make(chan struct{})}
	client := clientv3.NewCtxClient(t.Context())
	client.KV, client.Watcher = l, m.client.Watcher
	e, err := etcdkv.New(t.Context(), etcdkv.Config{Client: client, Name: "n1", LeaderChanged: func() <-chan struct{} { return l.changed }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	rev, err := e.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: "a", Value: []byte("1")}}})
	if err != nil {
		t.Fatal(err)
	}
	if pair, err := e.Get(t.Context(), "a"); err != nil || pair.Rev != rev || string(pair.Value) != "1" {
		t.Errorf("%+v at %d, %v", pair, rev, err)
	}
	if !errors.Is(l.ended, context.Canceled) {
		t.Errorf("the lost transaction was waited for until %v", l.ended)
	}
}
