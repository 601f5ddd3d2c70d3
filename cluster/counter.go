package cluster

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"

	"github.com/protoduction/micro/cloud"
)

// A node's counter tells an old copy of its disk from the disk itself. It rises at each start of the node and every minute
// while that runs. It is written to the node's own disk first, and then to the store, from where the other nodes learn it.
// So a node whose disk has a lower counter than another node remembers has got back an older disk: etcd must not vote by
// it, because it may have voted and acknowledged changes that are not on it.

// Counter is a node's counter, as another node remembers it.
type Counter struct {
	// Key is the KeyHash of the node: one that joins later under the same name begins anew.
	Key   string `json:"key"`
	Value uint64 `json:"value"`
}

// Counters are what a node's disk has of all counters.
type Counters struct {
	Own uint64 `json:"own"`
	// Others are the highest values that were seen of other nodes.
	Others map[cloud.NodeName]Counter `json:"others,omitempty"`
}

// Note returns the counters with another node's, and whether that is new.
func (c Counters) Note(n cloud.NodeName, seen Counter) (Counters, bool) {
	if old, ok := c.Others[n]; ok && old.Key == seen.Key && old.Value >= seen.Value {
		return c, false
	}
	others := maps.Clone(c.Others)
	if others == nil {
		others = map[cloud.NodeName]Counter{}
	}
	others[n] = seen
	c.Others = others
	return c, true
}

// Of returns the highest value that was seen of a node with a key, 0 for none.
func (c Counters) Of(n cloud.NodeName, key string) uint64 {
	if seen := c.Others[n]; seen.Key == key {
		return seen.Value
	}
	return 0
}

const countersFile = "counters.json"

// Counters reads the counters. A folder that an older micro wrote has none.
func (f Folder) Counters() (c Counters, err error) {
	b, err := os.ReadFile(f.path(countersFile))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		err = cloud.Errorf(cloud.Invalid, "cannot read this node's counter: %w", err)
	}
	return c, err
}

// SaveCounters writes the counters.
func (f Folder) SaveCounters(c Counters) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return f.write(countersFile, b)
}
