package etcdkv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// Commit implements kv.Engine.
func (e *Engine) Commit(ctx context.Context, t kv.Txn) (int64, error) {
	if err := errors.Join(t.Validate(), ctx.Err()); err != nil {
		return 0, err
	}
	select {
	case <-e.turn:
	case <-e.ctx.Done():
		return 0, kv.ErrClosed
	case <-ctx.Done():
		return 0, cloud.Errorf(cloud.Unavailable, "another change is running, and etcd does not answer: %w", ctx.Err())
	}
	if e.ctx.Err() != nil {
		e.turn <- struct{}{}
		return 0, kv.ErrClosed
	}
	type outcome struct {
		rev int64
		err error
	}
	ended := make(chan outcome, 1)
	e.busy.Go(func() {
		rev, err := e.commit(t)
		e.turn <- struct{}{}
		ended <- outcome{rev, err}
	})
	select {
	case o := <-ended:
		return o.rev, o.err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", kv.ErrUnknown, ctx.Err())
	}
}

// attempt is a transaction that was sent to etcd once.
type attempt struct {
	kv.Txn
	mark  string // the value that it writes to the writer's key
	since int64  // etcd's revision before it; only set if the transaction does not write the writer's key
}

var errMoved = errors.New("the writer's key has changed")

// commit sends a transaction and returns when its outcome is known, or the engine is closed. The caller must have the
// token.
func (e *Engine) commit(t kv.Txn) (int64, error) {
	for began := time.Now(); ; {
		a := attempt{Txn: t, mark: rand.Text()}
		rev, err := e.send(&a)
		switch {
		case err == nil, isRefusal(err):
			return rev, err
		case errors.Is(err, errMoved):
			// A transaction of an earlier process of this node has arrived late. That happens only once: try again.
			continue
		}
		lost := cloud.Errorf(cloud.Unavailable, "etcd did not commit the change: %w", err)
		retry := wasElecting(err) && time.Since(began) < retryFor
		if rev, err = e.findOut(a, lost); err != error(lost) || !retry { //nolint:errorlint // it is this very error
			return rev, err
		}
		// What is sent while etcd elects a leader is lost. Now there is one.
	}
}

const (
	// attemptTimeout is how long etcd may take for a transaction before the engine finds out what has become of it. It
	// is short, because a transaction that was sent to a leader which has just died gets no answer.
	attemptTimeout = 800 * time.Millisecond
	// retryFor is how long a transaction is sent again that was lost in an election.
	retryFor = 5 * time.Second
)

// attemptContext returns a context for one attempt. It ends after attemptTimeout, or when etcd has another leader: what was
// sent to the last one may be lost, and the new one can tell at once.
func (e *Engine) attemptContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	if e.leaderChanged == nil {
		return ctx, cancel
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	changed := e.leaderChanged()
	go func() {
		select {
		case <-changed:
			giveUp(errNewLeader)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { giveUp(nil); cancel() }
}

var errNewLeader = errors.New("etcd has a new leader")

// hasNewLeader reports whether an error says that etcd has another leader than when it was asked. Errors of an etcd in this
// process have other types than those of one that is asked over the network.
func hasNewLeader(err error) bool {
	return errors.Is(err, errNewLeader) || errors.Is(err, rpctypes.ErrLeaderChanged) || strings.Contains(err.Error(), "leader changed")
}

// wasElecting reports whether an error means that etcd had no leader, or that its leader did not answer.
func wasElecting(err error) bool {
	return hasNewLeader(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, rpctypes.ErrTimeout) || errors.Is(err, rpctypes.ErrTimeoutDueToLeaderFail) ||
		errors.Is(err, rpctypes.ErrTimeoutDueToConnectionLost) || errors.Is(err, rpctypes.ErrNoLeader) ||
		strings.Contains(err.Error(), "request timed out") // of an etcd in this process, whose errors have other types
}

// isRefusal reports whether an error means that etcd did not commit the transaction.
func isRefusal(err error) bool {
	return errors.Is(err, kv.ErrConflict) || errors.Is(err, kv.ErrNoLease) || cloud.CodeOf(err) == cloud.Unavailable || cloud.CodeOf(err) == cloud.Invalid
}

// send sends a transaction to etcd. Its error is a refusal, errMoved, or another one after which the outcome is unknown.
func (e *Engine) send(a *attempt) (int64, error) {
	ctx, stop := e.requestContext(e.ctx)
	defer stop()
	if len(a.Put) == 0 {
		// Don't write the writer's key: that would make a revision even if nothing is deleted.
		resp, err := e.get(ctx, e.writer, clientv3.WithCountOnly())
		if err != nil {
			return 0, cloud.Errorf(cloud.Unavailable, "etcd: %w", err)
		}
		a.since = resp.Header.Revision
	}
	ctx, cancel := e.attemptContext(ctx)
	defer cancel()
	conds := append(make([]clientv3.Cmp, 0, len(a.If)+1), e.unmoved())
	for _, c := range a.If {
		conds = append(conds, e.compare(c))
	}
	ops := make([]clientv3.Op, 0, len(a.Put)+len(a.Del)+1)
	for _, p := range a.Put {
		ops = append(ops, clientv3.OpPut(e.keys+p.Key, string(p.Value), clientv3.WithLease(clientv3.LeaseID(p.Lease))))
	}
	for _, key := range a.Del {
		ops = append(ops, clientv3.OpDelete(e.keys+key))
	}
	if len(a.Put) > 0 {
		ops = append(ops, clientv3.OpPut(e.writer, a.mark))
	}
	resp, err := e.client.Txn(ctx).If(conds...).Then(ops...).Else(clientv3.OpGet(e.writer)).Commit()
	switch {
	case err != nil && context.Cause(ctx) == errNewLeader:
		return 0, errNewLeader
	case err != nil:
		return 0, e.refusal(err)
	case !resp.Succeeded:
		if last, _ := writerIn(resp); last != e.last {
			e.last = last
			return 0, errMoved
		}
		return 0, kv.ErrConflict
	}
	if len(a.Put) > 0 {
		e.last = resp.Header.Revision
	}
	return resp.Header.Revision - 1, nil
}

// unmoved returns the condition that the writer's key has not changed since this engine last saw it.
func (e *Engine) unmoved() clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(e.writer), "=", e.last)
}

// writerIn returns etcd's revision that last wrote the writer's key, 0 for none, and the key's value, from the else
// branch of a transaction.
func writerIn(resp *clientv3.TxnResponse) (rev int64, mark string) {
	for _, p := range resp.Responses[0].GetResponseRange().Kvs {
		return p.ModRevision, string(p.Value)
	}
	return 0, ""
}

func (e *Engine) compare(c kv.Cond) clientv3.Cmp {
	switch key := e.keys + c.Key; {
	case c.AnyRev():
		return clientv3.Compare(clientv3.CreateRevision(key), ">", 0)
	case c.Rev == 0:
		return clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
	default:
		return clientv3.Compare(clientv3.ModRevision(key), "=", c.Rev+1)
	}
}

// refusal converts an error with which etcd refuses a transaction, and returns other errors unchanged.
func (e *Engine) refusal(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return kv.ErrNoLease
	case errors.Is(err, rpctypes.ErrNoSpace):
		return cloud.Errorf(cloud.Unavailable, "etcd has reached its space quota: %w", err).
			WithHint("compact and defragment it, and then: etcdctl alarm disarm")
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return cloud.Errorf(cloud.Unavailable, "etcd does not let its user %q write: %w", e.client.Username, err).
			WithHint("etcdctl role grant-permission ROLE --prefix=true readwrite %s", e.prefix)
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge):
		return cloud.Errorf(cloud.Invalid, "the change is too large for etcd: %w", err).WithHint("start etcd with --max-txn-ops %d", kv.MaxOps+1)
	}
	return err
}

// retryPause is the time between two requests to an etcd that does not answer.
const retryPause = 100 * time.Millisecond

// findOut returns the outcome of a transaction without an answer: the error lost if it was not committed, and no longer
// can be. It asks until etcd answers.
func (e *Engine) findOut(a attempt, lost error) (int64, error) {
	for {
		ctx, stop := e.attemptContext(e.ctx)
		resp, err := e.client.Txn(ctx).If(e.unmoved()).Then(clientv3.OpPut(e.writer, rand.Text())).Else(clientv3.OpGet(e.writer)).Commit()
		changed := context.Cause(ctx) == errNewLeader
		stop()
		switch {
		case err != nil && changed:
			continue
		case err != nil:
			select {
			case <-e.ctx.Done():
				return 0, fmt.Errorf("%w: %w", kv.ErrUnknown, kv.ErrClosed)
			case <-time.After(retryPause):
			}
			continue
		case resp.Succeeded:
			e.last = resp.Header.Revision
		default:
			mark := ""
			if e.last, mark = writerIn(resp); mark == a.mark {
				return e.last - 1, nil
			}
		}
		// From here on the transaction can no longer be committed. If it does not write the writer's key, it may have
		// been committed already.
		if len(a.Put) == 0 {
			return e.findDeletion(a, lost)
		}
		return 0, lost
	}
}

// findDeletion looks for a transaction that only deletes, in the changes between its sending and the last write of the
// writer's key. It returns the error lost if it finds none.
func (e *Engine) findDeletion(a attempt, lost error) (int64, error) {
	if e.last <= a.since {
		return 0, lost // the writer's key had already changed, so etcd has refused the transaction
	}
	wanted := map[string]bool{}
	for _, key := range a.Del {
		wanted[e.keys+key] = true
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	found := int64(0)
	all := clientv3.WithFromKey()
	if e.prefix != "" {
		all = clientv3.WithPrefix()
	}
	for resp := range e.client.Watch(ctx, e.prefix, all, clientv3.WithRev(a.since+1)) {
		if resp.Err() != nil {
			break
		}
		for _, ev := range resp.Events {
			switch rev := ev.Kv.ModRevision; {
			case rev >= e.last && found != 0:
				return found - 1, nil
			case rev >= e.last:
				return 0, lost
			case ev.Type == clientv3.EventTypeDelete && wanted[string(ev.Kv.Key)]:
				found = rev
			}
		}
	}
	return 0, fmt.Errorf("%w: etcd no longer has the history since then", kv.ErrUnknown)
}
