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
	Lines uint64         `json:"lines"` // audit lines ever written
	// Trimmed is how many of them are no longer kept: those up to this number.
	Trimmed uint64 `json:"trimmed,omitempty"`
	Hash    string `json:"hash"` // of the last line
}

// load reads everything anew.
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
		return nil // the store has written since, and nothing it writes passes over another's change
	}
	s.show(cloud.NewState().Apply(h.Rev, changes), h, headRev)
	s.seen = rev
	return nil
}

// follow applies what the engine's watch brings: the changes of other nodes.
func (s *Store) follow(ctx context.Context) error {
	s.mu.Lock()
	since := s.seen
	s.mu.Unlock()
	for batch, err := range s.engine.Watch(ctx, cloudPrefix, since) {
		if err != nil {
			return err
		}
		if err := s.see(batch); err != nil {
			return err
		}
	}
	return nil
}

// see shows what a batch changed, unless it is one of the store's own that is shown already.
func (s *Store) see(b kv.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.Rev <= s.seen {
		return nil
	}
	h := s.head
	var changes []cloud.Change
	for _, c := range b.Changes {
		var err error
		if c.Key == schemaKey {
			// Another node migrates the store while this one runs.
			if _, err := readSchema(c.Value, s.cfg.Version, len(migrations)+1); err != nil {
				return err
			}
		}
		if changes, err = s.decode(c.Key, c.Value, &h, changes); err != nil {
			return err
		}
	}
	s.show(s.after(h, changes), h, b.Rev)
	return nil
}

// after is the state with the changes; the very same where there are none.
func (s *Store) after(h head, changes []cloud.Change) *cloud.State {
	if h.Rev == s.state.Rev() {
		return s.state
	}
	return s.state.Apply(h.Rev, changes)
}

// decode reads one of the engine's pairs: the head into h, an object as one more change.
func (s *Store) decode(key string, value []byte, h *head, changes []cloud.Change) ([]cloud.Change, error) {
	switch object, isObject := strings.CutPrefix(key, objectPrefix); {
	case isObject:
		c, err := cloud.DecodeChange(cloud.Key(object), value)
		if u, ok := c.Object.(*cloud.Unknown); ok {
			s.warnUnknown(u)
		}
		return append(changes, c), err
	case key == headKey:
		if err := json.Unmarshal(value, h); err != nil {
			return nil, cloud.Errorf(cloud.Internal, "the store's revision cannot be read: %w", err)
		}
	}
	return changes, nil
}

// warnUnknown logs, once a kind, that the store has objects which a newer micro wrote.
func (s *Store) warnUnknown(u *cloud.Unknown) {
	kind := u.Key().Kind()
	if _, warned := s.unknown.LoadOrStore(kind, true); !warned {
		s.log.Warn("the store has objects of a kind that this version of micro does not know; they are kept and not acted on", "kind", kind, "version", s.cfg.Version)
	}
}
