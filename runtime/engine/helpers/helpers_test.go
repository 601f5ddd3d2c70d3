package helpers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// fakeRunc puts a runc of a version first in PATH.
func fakeRunc(t *testing.T, says string) {
	t.Helper()
	dir := t.TempDir()
	if says != "" {
		script := "#!/bin/sh\necho '" + says + "'\n"
		if err := os.WriteFile(filepath.Join(dir, "runc"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestRunc(t *testing.T) {
	for says, want := range map[string]string{
		"runc version 1.2.0":        "",
		"runc version 1.5.2":        "",
		"runc version 2.0.0-rc1":    "",
		"runc version 1.1.5+ds1":    "1.2 or later",
		"crun version 1.8.1":        "not runc",
		"":                          "find runc",
		"runc version a b c nobody": "not runc",
	} {
		fakeRunc(t, says)
		err := checkPath(t)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", says, err)
		}
		if err != nil && cloud.CodeOf(err) != cloud.Unavailable {
			t.Errorf("%q: code %s", says, cloud.CodeOf(err))
		}
	}
}

func checkPath(t *testing.T) error {
	runc, err := onPath()
	if err != nil {
		return err
	}
	return checkRunc(t.Context(), runc)
}

func TestLinksFollow(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "runc")
	for _, target := range []string{"/a", "/b"} {
		if err := link(target, name); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(name); got != target {
			t.Errorf("%s, %v", got, err)
		}
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("left: %v, %v", all, err)
	}
}
