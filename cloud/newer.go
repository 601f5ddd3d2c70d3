package cloud

import (
	"bytes"
	"cmp"
	"encoding/json"
	"iter"
	"slices"
)

// HasNewer reports whether the change's object has members that this version does not know: a newer micro wrote it.
func (c Change) HasNewer() bool { return c.newer != "" }

// NewerKeys yields the keys of all objects that have members which this version does not know.
func (s *State) NewerKeys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		it := s.newer.Root().Iterator()
		for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
			if !yield(Key(k)) {
				return
			}
		}
	}
}

// KeepNewer returns changes of s in which the objects keep the members that this version does not know. So nodes of two
// versions can change the same objects.
func (s *State) KeepNewer(changes []Change) ([]Change, error) {
	if s.newer.Len() == 0 {
		return changes, nil
	}
	var kept []Change
	for k, c := range changes {
		stored, ok := s.newer.Get([]byte(c.Key))
		if !ok || c.Object == nil || c.newer != "" {
			continue
		}
		old, _ := s.objects.Get([]byte(c.Key))
		known, err := json.Marshal(old)
		if err != nil {
			return nil, err
		}
		next, err := json.Marshal(c.Object)
		if err != nil {
			return nil, err
		}
		merged, err := mergeNewer([]byte(stored), known, next)
		if err != nil {
			return nil, Errorf(Internal, "the store's %q cannot be changed: %w", c.Key, err)
		}
		if kept == nil {
			kept = slices.Clone(changes)
		}
		kept[k].newer = string(merged)
	}
	if kept == nil {
		return changes, nil
	}
	return kept, nil
}

// mergeNewer returns next with the members that stored has and known lacks. All three are JSON: stored is a value as a newer
// micro wrote it, known is what this version reads of that, and next is what this version makes of it.
func mergeNewer(stored, known, next json.RawMessage) (json.RawMessage, error) {
	switch {
	case isObject(stored) && isObject(known) && isObject(next):
		return mergeObjects(stored, known, next)
	case isArray(stored) && isArray(known) && isArray(next):
		return mergeArrays(stored, known, next)
	}
	return next, nil
}

func isObject(b json.RawMessage) bool { return len(b) > 0 && b[0] == '{' }
func isArray(b json.RawMessage) bool  { return len(b) > 0 && b[0] == '[' }

func mergeObjects(stored, known, next json.RawMessage) (json.RawMessage, error) {
	var was, is, will map[string]json.RawMessage
	if err := cmp.Or(json.Unmarshal(stored, &was), json.Unmarshal(known, &is), json.Unmarshal(next, &will)); err != nil {
		return nil, err
	}
	for name, value := range was {
		knownValue, knows := is[name]
		nextValue, has := will[name]
		var err error
		switch {
		case knows && has:
			will[name], err = mergeNewer(value, knownValue, nextValue)
		case !knows && !has:
			will[name] = value
		}
		if err != nil {
			return nil, err
		}
	}
	return json.Marshal(will)
}

// mergeArrays merges the elements that next has of stored, wherever they are now: those that have not changed, and of the
// others the most alike.
func mergeArrays(stored, known, next json.RawMessage) (json.RawMessage, error) {
	var was, is, will []json.RawMessage
	if err := cmp.Or(json.Unmarshal(stored, &was), json.Unmarshal(known, &is), json.Unmarshal(next, &will)); err != nil {
		return nil, err
	}
	if len(was) != len(is) {
		return next, nil // this version does not keep all elements: there is nothing to compare
	}
	for from, to := range matchElements(is, will) {
		var err error
		if will[to], err = mergeNewer(was[from], is[from], will[to]); err != nil {
			return nil, err
		}
	}
	return json.Marshal(will)
}

// matchElements returns which element of next is which one of known, by their indexes.
func matchElements(known, next []json.RawMessage) map[int]int {
	match, taken := map[int]int{}, map[int]bool{}
	for from := range known {
		for to := range next {
			if !taken[to] && bytes.Equal(known[from], next[to]) {
				match[from], taken[to] = to, true
				break
			}
		}
	}
	for from := range known {
		if _, ok := match[from]; ok {
			continue
		}
		best, most := -1, 0
		for to := range next {
			if n := likeness(known[from], next[to]); !taken[to] && n > most {
				best, most = to, n
			}
		}
		if best >= 0 {
			match[from], taken[best] = best, true
		}
	}
	return match
}

// likeness counts the members that two objects have in common.
func likeness(a, b json.RawMessage) (n int) {
	var x, y map[string]json.RawMessage
	if !isObject(a) || !isObject(b) || json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return 0
	}
	for name, value := range x {
		if other, ok := y[name]; ok && bytes.Equal(value, other) {
			n++
		}
	}
	return n
}
