//go:build embedhelpers

package helpers

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestInstall(t *testing.T) {
	data := t.TempDir()
	old := filepath.Join(data, "helpers", "0123")
	if err := os.MkdirAll(old, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time, one of them was damaged
		p, err := Install(t.Context(), data, filepath.Join(data, "bin"))
		if err != nil {
			t.Fatal(err)
		}
		runc, err := filepath.EvalSymlinks(p.Runc)
		if err != nil {
			t.Fatal(err)
		}
		for file, mode := range map[string]os.FileMode{runc: 0o700, filepath.Dir(runc): 0o700 | os.ModeDir} {
			if fi, err := os.Stat(file); err != nil || fi.Mode() != mode {
				t.Errorf("%s: %v, %v", file, fi.Mode(), err)
			}
		}
		if have, err := os.ReadFile(runc); err != nil || !bytes.Equal(have, runcBinary) {
			t.Errorf("runc is not the one that the binary carries: %v", err)
		}
		if have, err := sumOf(runc); err != nil || !bytes.HasPrefix(sums, []byte(have+" ")) {
			t.Errorf("sums are of other programs than those that the binary carries: %s, %v", have, err)
		}
		if err := os.WriteFile(runc, []byte("damaged"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("an old version stays: %v", err)
	}
}
