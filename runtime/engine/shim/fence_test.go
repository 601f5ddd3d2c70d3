package shim

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestFence has containers with and without the mark, and a lease that is renewed, ends, and is not there at all.
func TestFence(t *testing.T) {
	state := t.TempDir()
	bundle := func(id string) string { return filepath.Join(state, "tasks", "micro", id) }
	mark := func(id string) {
		file := FencedFile(state, id)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	hold := func(more time.Duration) {
		now, err := Boottime()
		if err == nil {
			err = WriteLease(state, now+more)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var killed []string
	busy := true
	f := &fence{ids: map[string]bool{}, kill: func(_ context.Context, id string) error {
		mu.Lock()
		defer mu.Unlock()
		if busy { // the first attempt fails
			busy = false
			return errors.New("busy")
		}
		killed = append(killed, id)
		return nil
	}}
	kills := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(slices.Values(killed))
	}
	mark("one")
	mark("two")
	mark("gone")
	for _, id := range []string{"one", "two", "free", "gone"} {
		f.add(bundle(id), id)
	}
	f.remove("gone")
	time.Sleep(2 * watchEvery)
	if got := kills(); got != nil {
		t.Errorf("without a lease: %v", got)
	}
	for range 5 {
		hold(time.Minute) // however long this test stands still
		time.Sleep(watchEvery)
	}
	if got := kills(); got != nil {
		t.Errorf("under the lease: %v", got)
	}
	hold(watchEvery)
	began := time.Now()
	for len(kills()) < 2 && time.Since(began) < time.Minute {
		time.Sleep(watchEvery / 10)
	}
	if got := kills(); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("after the lease: %v", got)
	}
	if _, err := os.Stat(KilledFile(state, "one")); err != nil {
		t.Error(err)
	}
}

// TestFenceAtStart has containers that are to start when their node's lease has ended.
func TestFenceAtStart(t *testing.T) {
	state := t.TempDir()
	file := FencedFile(state, "one")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	f := &fence{ids: map[string]bool{}, kill: func(context.Context, string) error { return errors.New("not yet") }}
	for _, id := range []string{"one", "free"} {
		f.add(filepath.Join(state, "tasks", "micro", id), id)
	}
	t.Cleanup(func() { f.remove("one") })
	may := func(id string, want bool) {
		t.Helper()
		if err := f.mayStart(id); (err == nil) != want {
			t.Errorf("%s: %v", id, err)
		}
	}
	may("one", true) // without a lease nothing is fenced
	if err := WriteLease(state, time.Hour*24*365*100); err != nil {
		t.Fatal(err)
	}
	may("one", true)
	if err := WriteLease(state, 1); err != nil {
		t.Fatal(err)
	}
	may("one", false)
	may("free", true)
	if err := os.WriteFile(LeaseFile(state), []byte("no number"), 0o600); err != nil {
		t.Fatal(err)
	}
	may("one", false)
}
