package presence

import (
	"context"
	"errors"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// leadKey has the name of the node that leads.
const leadKey = "lead/node"

// Lead runs duties while this node leads, until ctx ends. There is one leader at a time: duties must end when their
// context does.
func (p *Presence) Lead(ctx context.Context, duties func(context.Context) error) error {
	for ctx.Err() == nil {
		t, changed := p.Current()
		if t == nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		won, err := p.stand(ctx, t)
		switch {
		case err != nil:
			p.Log.Debug("cannot stand for the lead", "err", err)
			pause(ctx, retryAfter)
		case won:
			p.Log.Info("this node leads")
			leading, cancel := context.WithCancel(t.ctx)
			stop := context.AfterFunc(ctx, cancel) // a node that stops gives up its duties before its lease
			err := duties(leading)
			ended := leading.Err() != nil
			stop()
			cancel()
			if !ended {
				return err // a duty can't go on: a fault of ours
			}
			p.Log.Info("this node no longer leads")
		}
	}
	return nil
}

// stand tries to become the leader for a term. Without success it returns when the leader has gone, or the term ends.
func (p *Presence) stand(ctx context.Context, t *Term) (won bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	pairs, rev, err := p.Engine.List(ctx, leadKey)
	if err != nil {
		return false, err
	}
	before := kv.Pair{Key: leadKey}
	if len(pairs) > 0 {
		before = pairs[0]
	}
	if before.Rev == 0 || string(before.Value) == string(p.Node) { // of an earlier process of this node
		_, err := p.Engine.Commit(ctx, kv.Txn{
			If:  []kv.Cond{kv.Unchanged(leadKey, before.Rev)},
			Put: []kv.Put{{Key: leadKey, Value: []byte(p.Node), Lease: t.ID}},
		})
		if errors.Is(err, kv.ErrConflict) {
			return false, nil
		}
		return err == nil, err
	}
	for batch, err := range p.Engine.Watch(ctx, leadKey, rev) {
		if err != nil {
			return false, nil // read again
		}
		for _, c := range batch.Changes {
			if c.Value == nil {
				return false, nil
			}
		}
	}
	return false, nil
}

// Leader returns the node that leads, "" for none.
func (p *Presence) Leader(ctx context.Context) (cloud.NodeName, error) {
	pair, err := p.Engine.Get(ctx, leadKey)
	return cloud.NodeName(pair.Value), err
}
