package etcdkv_test

import (
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store"
	"github.com/protoduction/micro/store/kv"
)

// TestMixedVersions has a store that a newer node writes, too: an object of an unknown kind, and one with an unknown
// member. This version goes on, and keeps both.
func TestMixedVersions(t *testing.T) {
	e, err := open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const kind, group = "cloud/object/later/default/x", "cloud/object/groups/a"
	by := cloud.Actor{Name: "test"}
	number := func(n uint32) func(*cloud.State) ([]cloud.Change, error) {
		return func(*cloud.State) ([]cloud.Change, error) {
			return []cloud.Change{cloud.Put(&cloud.Group{Name: "a", Number: n})}, nil
		}
	}
	s, err := store.Open(t.Context(), store.Config{Engine: e})
	if err == nil {
		_, err = s.Update(t.Context(), by, "test", "a", number(1))
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Get(t.Context(), group)
	if err == nil {
		newer := strings.Replace(string(p.Value), "{", `{"later":true,`, 1)
		_, err = e.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: kind, Value: []byte(`{"a": 1}`)}, {Key: group, Value: []byte(newer)}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(t.Context(), store.Config{Engine: e}); err != nil {
		t.Fatal(err)
	}
	for n := range uint32(3) {
		if _, err := s.Update(t.Context(), by, "test", "a", number(n+2)); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]string{kind: `{"a": 1}`, group: `"later":true`} {
		if p, err := e.Get(t.Context(), key); err != nil || !strings.Contains(string(p.Value), want) {
			t.Errorf("%s is %s, %v", key, p.Value, err)
		}
	}
}
