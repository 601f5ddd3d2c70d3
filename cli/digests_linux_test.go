package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud/source"
)

// Only what is sure to be unchanged is not read again.
func TestDigests(t *testing.T) {
	cache, dir := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	old := time.Now().Add(-time.Hour)
	write := func(name, content string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	// known returns how many files are known before they are read, and remembers all of them. later stands
	// in for time that passes: nothing can set a ctime.
	known := func(later time.Duration) (n int) {
		t.Helper()
		set, err := source.Open(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer set.Close()
		d := openDigests(dir)
		d.began = d.began.Add(later)
		d.fill(set)
		for _, e := range set.Entries {
			if e.SHA256 != "" {
				n++
			}
		}
		if err := set.Hash(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.save(set)
		return n
	}
	write("a", "1", old)
	write("b", "2", old)
	if n := known(0); n != 0 {
		t.Errorf("the first time %d are known", n)
	}
	if n := known(time.Minute); n != 0 {
		t.Errorf("%d are known that were changed just before they were read", n)
	}
	if n := known(time.Minute); n != 2 {
		t.Errorf("%d of 2 unchanged files are known", n)
	}
	write("a", "3", old) // the same size and time: only the ctime tells
	if n := known(time.Minute); n != 1 {
		t.Errorf("%d are known, want the unchanged one", n)
	}
	if err := os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	if n := known(time.Minute); n != 1 {
		t.Errorf("%d are known, want the one that was not renamed", n)
	}
	files, err := filepath.Glob(filepath.Join(cache, "micro", "digests", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := known(time.Minute); n != 0 {
		t.Errorf("%d are known from a broken file", n)
	}
}
