package etcdkv

import (
	"context"
	"errors"
	"iter"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// Watch implements kv.Engine. It waits while no majority answers.
func (e *Engine) Watch(ctx context.Context, prefix string, since int64) iter.Seq2[kv.Batch, error] {
	return func(yield func(kv.Batch, error) bool) {
		err := e.watch(ctx, prefix, since, func(b kv.Batch) bool { return yield(b, nil) })
		switch {
		case err == nil:
		case e.ctx.Err() != nil:
			yield(kv.Batch{}, kv.ErrClosed)
		case ctx.Err() == nil:
			yield(kv.Batch{}, err)
		}
	}
}

// watch calls use with each batch until use returns false.
func (e *Engine) watch(ctx context.Context, prefix string, since int64, use func(kv.Batch) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	changes := e.client.Watch(ctx, e.keys+prefix, clientv3.WithPrefix(), clientv3.WithRev(since+2), clientv3.WithCreatedNotify())
	for resp := range changes {
		if err := resp.Err(); err != nil {
			return watchError(err)
		}
		if resp.Created {
			if err := e.checkKept(ctx, since); err != nil {
				return err
			}
		}
		for _, b := range e.batches(resp.Events) {
			if !use(b) {
				return nil
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return cloud.Errorf(cloud.Unavailable, "etcd ended a watch")
}

// checkKept returns ErrCompacted if a revision is in the future or no longer kept. etcd itself would wait for a future
// revision, and accepts a watch from exactly the revision up to which the history was compacted.
func (e *Engine) checkKept(ctx context.Context, rev int64) error {
	for {
		asked, stop := e.requestContext(ctx)
		_, err := e.client.Get(asked, e.writer, clientv3.WithRev(rev+1), clientv3.WithKeysOnly())
		slow := context.Cause(asked) == errSlow
		stop()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, rpctypes.ErrFutureRev), isCompacted(err):
			return kv.ErrCompacted
		case !slow:
			return err
		}
	}
}

func watchError(err error) error {
	if isCompacted(err) {
		return kv.ErrCompacted
	}
	return cloud.Errorf(cloud.Unavailable, "watch etcd: %w", err)
}

// batches groups events by revision. etcd never splits a revision's events between two responses, because fragments were
// not requested.
func (e *Engine) batches(events []*clientv3.Event) []kv.Batch {
	var all []kv.Batch
	for _, ev := range events {
		rev := ev.Kv.ModRevision - 1
		if len(all) == 0 || all[len(all)-1].Rev != rev {
			all = append(all, kv.Batch{Rev: rev})
		}
		c := kv.Change{Key: strings.TrimPrefix(string(ev.Kv.Key), e.keys)}
		if ev.Type == clientv3.EventTypePut {
			c.Value = value(ev.Kv.Value)
		}
		last := &all[len(all)-1]
		last.Changes = append(last.Changes, c)
	}
	return all
}
