package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/boltkv"
	"github.com/protoduction/micro/store/seal"
)

// TestReseal seals the data key again. The store's own watch brings that change, which is written without the head: the
// next change of the state must be made nevertheless.
func TestReseal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	e, err := boltkv.Open(boltkv.Config{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s, err := Open(t.Context(), Config{Engine: e, Keys: keyFile(path)})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Run(t.Context()) }()
	keys, err := seal.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ResealDataKey(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	pair, err := e.Get(t.Context(), dataKey)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // a poll, with an end
		s.mu.Lock()
		seen := s.seen
		s.mu.Unlock()
		if seen >= pair.Rev {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the watch does not bring the change")
		}
	}
	if _, err := s.Update(t.Context(), cloud.Actor{Name: "test"}, "test", "test", putCanary); err != nil {
		t.Fatal(err)
	}
	checkCanary(t, s)
}
