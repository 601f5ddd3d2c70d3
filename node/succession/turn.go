package succession

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// turnKey has the node that is being upgraded. It is under no lease: a node that does not come back keeps the turn, so that
// the others are not upgraded to what may be broken.
const turnKey = "upgrade/turn"

// Turn is the right to be upgraded, which one node of a cloud has at a time.
type Turn struct {
	Node    cloud.NodeName `json:"node"`
	Version string         `json:"version"` // to which it is upgraded
	Since   time.Time      `json:"since"`
}

// Turns gives the nodes of a cloud their turns.
type Turns struct {
	Engine kv.Engine
	// Exists reports whether a node is one of the cloud. The turn of one that was removed ends.
	Exists func(cloud.NodeName) bool
}

const askAgain = 300 * time.Millisecond

// Take waits for the turn until ctx ends.
func (t Turns) Take(ctx context.Context, want Turn) error {
	for {
		held, rev, err := t.read(ctx)
		if err != nil {
			return err
		}
		if rev == 0 || held.Node == want.Node || !t.Exists(held.Node) {
			value, err := json.Marshal(want)
			if err != nil {
				return err
			}
			_, err = t.Engine.Commit(ctx, kv.Txn{If: []kv.Cond{kv.Unchanged(turnKey, rev)}, Put: []kv.Put{{Key: turnKey, Value: value}}})
			if !errors.Is(err, kv.ErrConflict) {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return cloud.Errorf(cloud.Conflict, "node %s is being upgraded to micro %s since %s and is not ready yet", held.Node, held.Version, held.Since.UTC().Format(time.TimeOnly+" MST")).
				WithHint("look at the log of %s; if the node is gone for good: micro node remove %s --lost", held.Node, held.Node)
		case <-time.After(askAgain):
		}
	}
}

// Holder returns who has the turn; the zero Turn for nobody.
func (t Turns) Holder(ctx context.Context) (Turn, error) {
	held, rev, err := t.read(ctx)
	if rev != 0 && !t.Exists(held.Node) {
		return Turn{}, err
	}
	return held, err
}

// Release ends a node's turn, if it has it.
func (t Turns) Release(ctx context.Context, node cloud.NodeName) error {
	held, rev, err := t.read(ctx)
	if err != nil || rev == 0 || held.Node != node {
		return err
	}
	_, err = t.Engine.Commit(ctx, kv.Txn{If: []kv.Cond{kv.Unchanged(turnKey, rev)}, Del: []string{turnKey}})
	if errors.Is(err, kv.ErrConflict) {
		return nil // another process of this node has released it
	}
	return err
}

func (t Turns) read(ctx context.Context) (held Turn, rev int64, err error) {
	p, err := t.Engine.Get(ctx, turnKey)
	if err != nil || p.Rev == 0 {
		return held, 0, err
	}
	if err := json.Unmarshal(p.Value, &held); err != nil {
		return held, 0, cloud.Errorf(cloud.Internal, "the turn of upgrades cannot be read: %w", err)
	}
	return held, p.Rev, nil
}
