package cluster

import "testing"

// TestCounters has counters of other nodes noted, and read again from the folder.
func TestCounters(t *testing.T) {
	f := NewFolder(t.TempDir())
	c, err := f.Counters()
	if err != nil || c.Own != 0 || c.Of("n2", "key") != 0 {
		t.Fatalf("a folder without counters has %v, %v", c, err)
	}
	note := func(key string, value uint64, want bool) {
		t.Helper()
		var isNew bool
		if c, isNew = c.Note("n2", Counter{key, value}); isNew != want {
			t.Errorf("%s %d is new: %v", key, value, isNew)
		}
	}
	note("key", 5, true)
	note("key", 5, false)
	note("key", 4, false) // an old disk
	note("key", 6, true)
	c.Own = 3
	if err := f.SaveCounters(c); err != nil {
		t.Fatal(err)
	}
	if c, err = f.Counters(); err != nil || c.Own != 3 || c.Of("n2", "key") != 6 || c.Of("n2", "other") != 0 {
		t.Errorf("read again: %v, %v", c, err)
	}
	note("other", 1, true) // another node that has joined under the name
	if c.Of("n2", "other") != 1 || c.Of("n2", "key") != 0 {
		t.Errorf("after another node has the name: %v", c)
	}
}
