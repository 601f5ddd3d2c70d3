package deploy

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
)

func TestSetTimes(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a/b", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at := func(minute int) time.Time { return time.Date(2020, 1, 1, 0, minute, 0, 500, time.UTC) }
	var list []api.File
	for minute, name := range []string{"", "top", "a/one", "a/b/two"} {
		if name == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		list = append(list, api.File{Path: name, ModTime: at(minute)})
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, "a/link")); err != nil {
		t.Fatal(err)
	}
	list = append(list, api.File{Path: "a/link", Link: "/nowhere", ModTime: at(2)}, api.File{Path: "a", Dir: true}, api.File{Path: "empty", Dir: true})
	if err := setTimes(dir, list); err != nil {
		t.Fatal(err)
	}
	for name, minute := range map[string]int{".": 3, "top": 1, "a": 3, "a/one": 2, "a/link": 2, "a/b": 3, "a/b/two": 3} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || !info.ModTime().Equal(at(minute)) {
			t.Errorf("%s: %v, %v; want %v", name, info.ModTime(), err, at(minute))
		}
	}
	if got := created(&api.Source{Files: list}); !got.Equal(at(3)) {
		t.Error(got)
	}
	if got := created(&api.Source{Files: list, Created: at(1)}); !got.Equal(at(1)) {
		t.Error(got)
	}
	if err := setTimes(dir, []api.File{{Path: "a/none", ModTime: at(1)}}); err == nil {
		t.Error("no error for a file that is not there")
	}
	if err := os.Symlink("/", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := setTimes(dir, []api.File{{Path: "out/tmp", ModTime: at(1)}}); err == nil {
		t.Error("a link leads out of the folder")
	}
}
