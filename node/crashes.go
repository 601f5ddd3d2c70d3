package node

import (
	"context"
	"encoding/json"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// crashes stores the crash counts of instances in the node's own part of the store, so that a crash loop is still
// known after a restart of micro.
type crashes struct{ local kv.Local }

const crashesPrefix = "crashes/"

func crashKey(s cloud.Slot) string { return crashesPrefix + string(s.Group) + "/" + s.String() }

func (c crashes) Save(_ context.Context, what *cloud.Crashes) error {
	b, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return c.local.Put(kv.Pair{Key: crashKey(what.Slot), Value: b})
}

func (c crashes) Forget(_ context.Context, s cloud.Slot) error { return c.local.Delete(crashKey(s)) }

func (c crashes) Load(context.Context) ([]*cloud.Crashes, error) {
	pairs, err := c.local.List(crashesPrefix)
	if err != nil {
		return nil, err
	}
	list := make([]*cloud.Crashes, 0, len(pairs))
	for _, p := range pairs {
		one := new(cloud.Crashes)
		if err := json.Unmarshal(p.Value, one); err != nil {
			return nil, cloud.Errorf(cloud.Internal, "cannot read the stored crash counts: %w", err)
		}
		list = append(list, one)
	}
	return list, nil
}
