package store

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// The engine's keys.
const (
	cloudPrefix  = "cloud/"
	schemaKey    = "cloud/schema"
	headKey      = "cloud/rev"
	objectPrefix = "cloud/object/" // followed by a cloud.Key
)

// head is the value of headKey.
type head struct {
	Rev   cloud.Revision `json:"rev"`
	Lines uint64         `json:"lines"` // number of audit lines ever written
	// Trimmed is the number of the newest audit line that was deleted; all lines up to it are deleted.
	Trimmed uint64 `json:"trimmed,omitempty"`
	Hash    string `json:"hash"` // of the last line
}

// load reads the whole state from the engine.
func (s *Store) load(ctx context.Context) error {
	pairs, rev, err := s.engine.List(ctx, cloudPrefix)
	if err != nil {
		return err
	}
	var h head
	headRev := int64(0)
	changes := make([]cloud.Change, 0, len(pairs))
	for _, p := range pairs {
		if p.Key == headKey {
			headRev = p.Rev
		}
		if changes, err = s.decode(p.Key, p.Value, &h, changes); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if rev < s.seen {
		return nil // this store has committed since; its commits fail if they miss changes of other nodes
	}
	s.setState(cloud.NewState().Apply(h.Rev, changes), h, headRev)
	s.seen = rev
	return nil
}

// watchEngine applies the changes of other nodes, from the engine's watch.
func (s *Store) watchEngine(ctx context.Context) error {
	s.mu.Lock()
	since := s.seen
	s.mu.Unlock()
	for batch, err := range s.engine.Watch(ctx, cloudPrefix, since) {
		if err != nil {
			return err
		}
		if s.cfg.Before != nil {
			s.cfg.Before(ctx, batch.Rev)
		}
		if err := s.applyBatch(batch); err != nil {
			return err
		}
	}
	return nil
}

// applyBatch applies a batch of the watch, unless it is a transaction of this store, which is already applied.
func (s *Store) applyBatch(b kv.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.Rev <= s.seen {
		return nil
	}
	h, headRev := s.head, s.headRev
	var changes []cloud.Change
	for _, c := range b.Changes {
		var err error
		if c.Key == headKey { // others, such as the data key, are written without it
			headRev = b.Rev
		}
		if c.Key == schemaKey {
			// Another node has migrated the store while this one runs.
			if _, err := readSchema(c.Value, s.cfg.Version, Readable); err != nil {
				return err
			}
		}
		if changes, err = s.decode(c.Key, c.Value, &h, changes); err != nil {
			return err
		}
	}
	s.setState(s.applyChanges(h, changes), h, headRev)
	s.seen = b.Rev
	return nil
}

// applyChanges returns the state after the changes, or the same pointer if there are none.
func (s *Store) applyChanges(h head, changes []cloud.Change) *cloud.State {
	if h.Rev == s.state.Rev() {
		return s.state
	}
	return s.state.Apply(h.Rev, changes)
}

// decode decodes a pair of the engine: the head into h; an object is appended to changes.
func (s *Store) decode(key string, value []byte, h *head, changes []cloud.Change) ([]cloud.Change, error) {
	switch object, isObject := strings.CutPrefix(key, objectPrefix); {
	case isObject:
		value, err := s.values.decrypt(key, value)
		if err != nil {
			return nil, err
		}
		c, err := cloud.DecodeChange(cloud.Key(object), value)
		if _, unknown := c.Object.(*cloud.Unknown); unknown || c.HasNewer() {
			s.warnNewer(c)
		}
		return append(changes, c), err
	case key == headKey:
		if err := json.Unmarshal(value, h); err != nil {
			return nil, cloud.Errorf(cloud.Internal, "the store's revision cannot be read: %w", err)
		}
	}
	return changes, nil
}

// warnNewer logs, once per kind, that the store has objects of a kind, or with members, that only a newer micro knows.
func (s *Store) warnNewer(c cloud.Change) {
	kind, what := c.Key.Kind(), "objects of a kind"
	if c.HasNewer() {
		what = "objects with members"
	}
	if _, warned := s.unknown.LoadOrStore(what+kind, true); !warned {
		s.log.Warn("the store has "+what+" that this version of micro does not know: a newer one wrote them; they are kept but ignored", "kind", kind, "version", s.cfg.Version)
	}
}
