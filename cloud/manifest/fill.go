package manifest

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// fill reads a mapping into t by its table.
func fill[T any, P schema[T]](v value, t P) {
	keys, what := t.keys()
	for k, v := range v.pairs() {
		i := slices.IndexFunc(keys, func(d key[T]) bool { return d.name == k.Value })
		if i < 0 {
			v.unknown(k, what, current(keys))
			continue
		}
		d := keys[i]
		if d.state == notYet && (v.isNull() || slices.Contains(d.none, v.node.Value)) {
			continue
		}
		switch {
		case d.state == notYet && asks(v.node) && d.instead != "":
			v.reader.refuse(k, "%s (an old key: write %s)", d.name, d.instead)
		case d.state == notYet && asks(v.node):
			v.reader.refuse(k, "%s", d.name)
		case d.instead != "":
			v.warn(k, "%s is an old key: write %s", d.name, d.instead)
		}
		d.read(v, t)
	}
}

// current names the keys that one should write.
func current[T any](keys []key[T]) []string {
	var names []string
	for _, d := range keys {
		if d.instead == "" {
			names = append(names, d.name)
		}
	}
	return names
}

// unknown reports a key that is in no table, with the one that was probably meant.
func (r *reader) unknown(k *yaml.Node, what string, keys []string) {
	ours, _ := (*own)(nil).keys()
	if what == "an app" && slices.Contains(current(ours), k.Value) {
		r.bad(k, "unknown key %q of %s: it belongs under x-micro", k.Value, what)
		return
	}
	r.bad(k, "unknown key %q of %s%s", abbreviate(k.Value), what, didYouMean(nearest(k.Value, keys)))
}

// nested reads a mapping into a part of T.
func nested[T, U any, P schema[U]](part func(*T) P) func(value, *T) {
	return func(v value, t *T) { fill(v, part(t)) }
}

// list reads a list of mappings, each into what next returns.
func list[T, U any, P schema[U]](next func(*T, *yaml.Node) P) func(value, *T) {
	return func(v value, t *T) {
		for item := range v.items() {
			fill(item, next(t, item.node))
		}
	}
}

// stated makes what is read of a list empty instead of nil: an empty list says that there is none, and does not inherit.
func stated[T, E any](part func(*T) *[]E, read func(value, *T)) func(value, *T) {
	return func(v value, t *T) {
		if v.node.Kind == yaml.SequenceNode {
			*part(t) = []E{}
		}
		read(v, t)
	}
}

// adding warns of an empty value of a key that only adds to what the app has: somebody may take it for "none".
func adding[T any](instead string, read func(value, *T)) func(value, *T) {
	return func(v value, t *T) {
		if v.node.Kind != yaml.ScalarNode && len(v.node.Content) == 0 {
			v.warn(v.node, "%s is empty, which takes nothing away: %s", v.name, instead)
		}
		read(v, t)
	}
}

// of reads into a part of T with what is made for that part.
func of[T, U any](part func(*T) *U, read func(value, *U)) func(value, *T) {
	return func(v value, t *T) { read(v, part(t)) }
}

// lift makes the keys of a part keys of the whole.
func lift[T, U any](keys []key[U], part func(*T) *U) []key[T] {
	lifted := make([]key[T], len(keys))
	for i, d := range keys {
		lifted[i] = key[T]{name: d.name, state: d.state, none: d.none, instead: d.instead, read: of(part, d.read)}
	}
	return lifted
}

// check reads a scalar for its errors alone.
func check[T, V any](read func(value) (V, bool)) func(value, *T) {
	return func(v value, _ *T) { read(v) }
}

// words checks a list of texts.
func words[T any](v value, _ *T) {
	for item := range v.items() {
		item.word()
	}
}

// flags checks a mapping of names to true or false.
func flags[T any](v value, _ *T) {
	for _, item := range v.pairs() {
		item.flag()
	}
}

func anySize[T any](v value, _ *T) { v.size(0) }

func anything[T any](value, *T) {}

func last[T any](s []T) T { return s[len(s)-1] }
