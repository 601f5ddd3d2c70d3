package router

import (
	"hash/maphash"
	"maps"
)

// shards is a persistent map: another one with some keys changed shares what stayed the same, at the
// cost of copying the shards of those keys. With 100,000 keys a shard has about 390.
type shards[V any] struct {
	seed  maphash.Seed
	parts [256]map[string]V
	n     int
}

func newShards[V any]() *shards[V] { return &shards[V]{seed: maphash.MakeSeed()} }

func (s *shards[V]) get(key []byte) (V, bool) {
	v, ok := s.parts[byte(maphash.Bytes(s.seed, key))][string(key)]
	return v, ok
}

func (s *shards[V]) lookup(key string) (V, bool) {
	v, ok := s.parts[byte(maphash.String(s.seed, key))][key]
	return v, ok
}

// all yields every key and value, in no order.
func (s *shards[V]) all(yield func(string, V) bool) {
	for _, part := range s.parts {
		for k, v := range part {
			if !yield(k, v) {
				return
			}
		}
	}
}

// fromAnywhere yields like all, from a part on that random chooses.
func (s *shards[V]) fromAnywhere(random uint64) func(yield func(string, V) bool) {
	return func(yield func(string, V) bool) {
		for i := range s.parts {
			for k, v := range s.parts[(uint64(i)+random)%uint64(len(s.parts))] {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// edit makes the next map; the one it began with stays as it is.
type edit[V any] struct {
	next  *shards[V]
	owned [256]bool
}

func (s *shards[V]) edit() *edit[V] {
	next := *s
	return &edit[V]{next: &next}
}

func (e *edit[V]) part(key string) map[string]V {
	i := byte(maphash.String(e.next.seed, key))
	if !e.owned[i] {
		e.owned[i] = true
		if e.next.parts[i] = maps.Clone(e.next.parts[i]); e.next.parts[i] == nil {
			e.next.parts[i] = map[string]V{}
		}
	}
	return e.next.parts[i]
}

func (e *edit[V]) set(key string, v V) {
	p := e.part(key)
	before := len(p)
	p[key] = v
	e.next.n += len(p) - before
}

func (e *edit[V]) delete(key string) {
	if _, ok := e.next.lookup(key); !ok {
		return
	}
	delete(e.part(key), key)
	e.next.n--
}
