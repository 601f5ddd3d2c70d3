package cloud

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestMergeNewer has what a newer micro stored, what this version reads of it, what it makes of it, and what is stored then.
func TestMergeNewer(t *testing.T) {
	for _, c := range []struct{ name, stored, known, next, want string }{
		{"nothing is unknown", `{"a":1}`, `{"a":1}`, `{"a":2}`, `{"a":2}`},
		{"a member stays", `{"a":1,"new":{"x":[1, 2]}}`, `{"a":1}`, `{"a":2,"b":3}`, `{"a":2,"b":3,"new":{"x":[1,2]}}`},
		{"a known member goes", `{"a":1,"new":1}`, `{"a":1}`, `{}`, `{"new":1}`},
		{"a large number stays", `{"a":1,"new":12345678901234567890}`, `{"a":1}`, `{"a":2}`, `{"a":2,"new":12345678901234567890}`},
		{"deep down", `{"a":{"b":1,"new":1}}`, `{"a":{"b":1}}`, `{"a":{"b":2}}`, `{"a":{"b":2,"new":1}}`},
		{"what has it goes", `{"a":{"b":1,"new":1}}`, `{"a":{"b":1}}`, `{}`, `{}`},
		{"an element moves", `{"l":[{"n":1,"new":1},{"n":2,"new":2}]}`, `{"l":[{"n":1},{"n":2}]}`, `{"l":[{"n":2},{"n":1}]}`, `{"l":[{"n":2,"new":2},{"n":1,"new":1}]}`},
		{"an element goes", `{"l":[{"n":1,"new":1},{"n":2,"new":2}]}`, `{"l":[{"n":1},{"n":2}]}`, `{"l":[{"n":2}]}`, `{"l":[{"n":2,"new":2}]}`},
		{"an element comes", `{"l":[{"n":1,"new":1}]}`, `{"l":[{"n":1}]}`, `{"l":[{"n":0},{"n":1}]}`, `{"l":[{"n":0},{"n":1,"new":1}]}`},
		{"an element changes", `{"l":[{"n":1,"w":5,"new":1},{"n":2,"w":5,"new":2}]}`, `{"l":[{"n":1,"w":5},{"n":2,"w":5}]}`,
			`{"l":[{"n":2,"w":6},{"n":1,"w":5}]}`, `{"l":[{"n":2,"new":2,"w":6},{"n":1,"new":1,"w":5}]}`},
		{"another element in its place", `{"l":[{"n":1,"new":1}]}`, `{"l":[{"n":1}]}`, `{"l":[{"n":2}]}`, `{"l":[{"n":2}]}`},
		{"words", `{"l":["a","b"],"new":1}`, `{"l":["a","b"]}`, `{"l":["c"]}`, `{"l":["c"],"new":1}`},
		{"null", `{"a":null,"new":null}`, `{}`, `{"a":{"b":1}}`, `{"a":{"b":1},"new":null}`},
	} {
		got, err := mergeNewer(json.RawMessage(c.stored), json.RawMessage(c.known), json.RawMessage(c.next))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.name, got, err, c.want)
		}
	}
}

// TestKeepNewer changes objects of every kind that a newer micro has written, with a member of its own at every place
// where an object can have one. None may be lost, also by the next change.
func TestKeepNewer(t *testing.T) {
	stored := `{"host":"www.example.com","group":"default","exposure":"public","created":"2026-01-01T00:00:00Z","later":1,
		"routes":[{"path":"/a","targets":[{"group":"default","app":"shop","n":1,"later":2}],"later":3},{"path":"/","targets":[],"later":4}],"tls":{"later":5}}`
	c, err := DecodeChange("hosts/www.example.com", []byte(stored))
	if err != nil || !c.HasNewer() {
		t.Fatalf("got %v, %v", c.HasNewer(), err)
	}
	s := NewState().Apply(1, []Change{c})
	for rev := Revision(2); rev < 5; rev++ {
		vhost, _ := s.VirtualHost("www.example.com")
		next := *vhost
		if next.Exposure = ExposedInternal; rev%2 == 1 {
			next.Exposure = ExposedPublic
		}
		changes, err := s.KeepNewer([]Change{Put(&next)})
		if err != nil {
			t.Fatal(err)
		}
		value, err := changes[0].Encode()
		if err != nil {
			t.Fatal(err)
		}
		for _, member := range []string{`"later":1`, `"later":2`, `"later":3`, `"later":4`, `"later":5`, string(next.Exposure)} {
			if !strings.Contains(string(value), member) {
				t.Errorf("change %d has lost %s: %s", rev, member, value)
			}
		}
		s = s.Apply(rev, changes)
	}
	n := 0
	for range s.NewerKeys() {
		n++
	}
	s = s.Apply(9, []Change{{Key: "hosts/www.example.com"}})
	for range s.NewerKeys() {
		n += 10
	}
	if n != 1 {
		t.Errorf("the keys of objects with unknown members are %d", n)
	}
}

// TestEveryKindKeepsNewer decodes an object of each kind with a member that it does not know, and changes it.
func TestEveryKindKeepsNewer(t *testing.T) {
	for kind, empty := range kinds {
		o := empty()
		known, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		stored := strings.Replace(strings.Replace(string(known), "{", `{"of_a_newer_micro":true,`, 1), ",}", "}", 1)
		c, err := DecodeChange(o.Key(), []byte(stored))
		if err != nil || !c.HasNewer() {
			t.Errorf("%s: the member is not seen: %v", kind, err)
			continue
		}
		s := NewState().Apply(1, []Change{c})
		changes, err := s.KeepNewer([]Change{{Key: o.Key(), Object: o}})
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if value, err := changes[0].Encode(); err != nil || !strings.Contains(string(value), `"of_a_newer_micro":true`) {
			t.Errorf("%s: the member is lost: %s, %v", kind, value, err)
		}
	}
}
