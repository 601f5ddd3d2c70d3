package manifest

import (
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// value is a node, and the key or the words that it is known by in errors.
type value struct {
	*reader
	node *yaml.Node
	name string
}

// unset is the tag of a variable without a value, which is one error and not two.
const unset = "!!unset"

func (v value) bad(format string, args ...any) {
	if v.node.Tag != unset {
		v.reader.bad(v.node, format, args...)
	}
}

func (v value) badErr(err error)                  { v.reader.badErr(v.node, err) }
func (v value) refuse(format string, args ...any) { v.reader.refuse(v.node, format, args...) }

func (v value) isNull() bool { return v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!null" }

// pairs yields a mapping's keys and values, and reports what is no mapping. Nothing is an empty one.
func (v value) pairs() iter.Seq2[*yaml.Node, value] {
	return func(yield func(*yaml.Node, value) bool) {
		if v.node.Kind != yaml.MappingNode {
			if !v.isNull() {
				v.bad("%s must be a mapping, not %s", v.name, kindOf(v.node))
			}
			return
		}
		for i := 0; i+1 < len(v.node.Content); i += 2 {
			k := v.node.Content[i]
			if !yield(k, value{v.reader, v.node.Content[i+1], abbreviate(k.Value)}) {
				return
			}
		}
	}
}

// items yields a list's items, and reports what is no list. Nothing is an empty one.
func (v value) items() iter.Seq[value] {
	return func(yield func(value) bool) {
		if v.node.Kind != yaml.SequenceNode {
			if !v.isNull() {
				v.bad("%s must be a list, not %s", v.name, kindOf(v.node))
			}
			return
		}
		for _, item := range v.node.Content {
			if !yield(value{v.reader, item, "an item of " + v.name}) {
				return
			}
		}
	}
}

// text reads a scalar as it is written: 1.10 stays "1.10", true stays "true".
func (v value) text() (string, bool) {
	if v.node.Kind != yaml.ScalarNode || v.isNull() || v.node.Tag == unset {
		v.bad("%s must be text, not %s", v.name, kindOf(v.node))
		return "", false
	}
	if strings.ContainsRune(v.node.Value, 0) {
		v.bad("%s has a NUL byte", v.name)
		return "", false
	}
	return v.node.Value, true
}

// word is text that must not be empty.
func (v value) word() (string, bool) {
	s, ok := v.text()
	if ok && strings.TrimSpace(s) == "" {
		v.bad("%s is empty", v.name)
		return "", false
	}
	return s, ok
}

func (v value) number(least, most int) (int, bool) {
	i, err := strconv.Atoi(v.node.Value)
	if v.node.Kind != yaml.ScalarNode || err != nil {
		v.bad("%s must be a whole number, not %s", v.name, kindOf(v.node))
		return 0, false
	}
	if i < least || i > most {
		v.bad("%s %d is not between %d and %d", v.name, i, least, most)
		return 0, false
	}
	return i, true
}

func (v value) flag() (bool, bool) {
	if v.node.Kind == yaml.ScalarNode {
		switch strings.ToLower(v.node.Value) {
		case "true", "yes", "on":
			return true, true
		case "false", "no", "off":
			return false, true
		}
	}
	v.bad("%s must be true or false, not %s", v.name, kindOf(v.node))
	return false, false
}

func (v value) oneOf(words ...string) (string, bool) {
	s, ok := v.text()
	if ok && !slices.Contains(words, s) {
		v.bad("%s %q is not one of %s%s", v.name, abbreviate(s), strings.Join(words, ", "), didYouMean(nearest(s, words)))
		return "", false
	}
	return s, ok
}

// size reads bytes.
func (v value) size(least int64) (int64, bool) {
	s, ok := v.text()
	if !ok {
		return 0, false
	}
	n, err := cloud.ParseSize(s)
	if err != nil {
		v.bad("%s: %v", v.name, err)
		return 0, false
	}
	if n < least {
		v.bad("%s %s is less than %s", v.name, s, cloud.FormatSize(least))
		return 0, false
	}
	return n, true
}

// maxSeconds bounds every time: a day. More is a slip of the pen.
const maxSeconds = 24 * 60 * 60

// seconds reads a whole number of seconds, at least 1.
func (v value) seconds() (cloud.Duration, bool) {
	n, ok := v.number(1, maxSeconds)
	return cloud.Duration(time.Duration(n) * time.Second), ok
}

// span reads a number of seconds, or a duration as Go writes it: 90s, 2m.
func (v value) span() (cloud.Duration, bool) {
	s, ok := v.text()
	if !ok {
		return 0, false
	}
	t := s
	if _, err := strconv.Atoi(s); err == nil {
		t += "s"
	}
	d, err := time.ParseDuration(t)
	if err != nil || d < 0 || d > maxSeconds*time.Second {
		v.bad("%s %q is not a time from 0 to %d seconds: write it like 30 or 2m", v.name, abbreviate(s), maxSeconds)
		return 0, false
	}
	return cloud.Duration(d), true
}

// texts reads a mapping of names to scalars.
func (v value) texts() map[string]string {
	m := map[string]string{}
	for k, item := range v.pairs() {
		if s, ok := item.text(); ok {
			m[k.Value] = s
		}
	}
	return m
}

// asks says whether a value wants something: false and empty lists do not.
func asks(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.SequenceNode, yaml.MappingNode:
		return len(n.Content) > 0
	}
	return n.Tag != "!!null" && n.Tag != unset && (n.Tag != "!!bool" || !slices.Contains([]string{"false", "no", "off"}, strings.ToLower(n.Value)))
}

var separators = regexp.MustCompile(`[-_ ]+`)

// nearest is the word that s was probably meant to be, "" for none.
func nearest(s string, words []string) string {
	plain := func(s string) string { return separators.ReplaceAllString(strings.ToLower(s), "-") }
	best, least := "", 1+min(len(s), 40)/4
	for _, w := range words {
		if d := distance(plain(s), plain(w)); d < least || d == least && best == "" {
			best, least = w, d
		}
	}
	return best
}

func didYouMean(word string) string {
	if word == "" {
		return ""
	}
	return "; did you mean " + word + "?"
}

// distance is the least number of letters to add, drop, change or swap with the next between a and b
// (optimal string alignment). Longer words than any of ours are infinitely far.
func distance(a, b string) int {
	if len(a) > 60 || len(b) > 60 {
		return max(len(a), len(b))
	}
	var before, last []int
	for j := range len(b) + 1 {
		last = append(last, j)
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
