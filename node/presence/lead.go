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
	leading, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	p.mu.Lock()
	p.lead = &candidacy{stop, ended}
	p.mu.Unlock()
	err := p.leadUntil(leading, duties)
	close(ended)
	if err == nil {
		<-ctx.Done() // a node that has resigned goes on without the lead
	}
	return err
}

// candidacy is a node's standing for the lead.
type candidacy struct {
	stop  func()
	ended chan struct{} // closed when the duties have ended for good
}

// Resign gives up the lead, so that another node takes it at once, and does not stand for it again.
func (p *Presence) Resign(ctx context.Context) error {
	p.mu.Lock()
	lead := p.lead
	p.mu.Unlock()
	if lead == nil {
		return nil
	}
	lead.stop()
	select {
	case <-lead.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	pair, err := p.Engine.Get(ctx, leadKey)
	if err != nil || string(pair.Value) != string(p.Node) {
		return err
	}
	_, err = p.Engine.Commit(ctx, kv.Txn{If: []kv.Cond{kv.Unchanged(leadKey, pair.Rev)}, Del: []string{leadKey}})
	if errors.Is(err, kv.ErrConflict) {
		return nil // another node was first
	}
	return err
}

// leadUntil stands for the lead and runs the duties, again and again, until ctx ends.
func (p *Presence) leadUntil(ctx context.Context, duties func(context.Context) error) error {
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
			if err := p.serveTerm(ctx, t, duties); err != nil {
				return err
			}
			p.Log.Info("this node no longer leads")
		}
	}
	return nil
}

// serveTerm runs the duties until the term or ctx ends: a node that stops gives up its duties before its lease. It returns an error if a duty can't go on, which is a fault of ours.
func (p *Presence) serveTerm(ctx context.Context, t *Term, duties func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	err := duties(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
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
