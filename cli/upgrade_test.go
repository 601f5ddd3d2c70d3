package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func TestUpgradeOrder(t *testing.T) {
	cluster := api.Cluster{Nodes: []api.ClusterNode{{Name: "n1"}, {Name: "n2", Leads: true}, {Name: "n3"}}}
	for _, c := range []struct {
		wanted []string
		want   string
	}{
		{nil, "[n1 n3 n2]"}, {[]string{"n2", "n1"}, "[n1 n2]"}, {[]string{"n3"}, "[n3]"},
	} {
		if got, err := upgradeOrder(cluster, c.wanted); err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%v: got %v, %v, want %s", c.wanted, got, err, c.want)
		}
	}
	if _, err := upgradeOrder(cluster, []string{"n1", "n9"}); cloud.CodeOf(err) != cloud.NotFound {
		t.Errorf("a node that is not there: %v", err)
	}
}

// TestInstall installs a program over another one, over itself, and where none is, and takes it back.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	want := func(path, content string) {
		t.Helper()
		if b, err := os.ReadFile(path); err != nil || string(b) != content {
			t.Errorf("%s has %q, %v", path, b, err)
		}
	}
	newer, old := file("newer", "2"), file("micro", "1")
	undo, err := install(newer, old)
	if err != nil {
		t.Fatal(err)
	}
	want(old, "2")
	want(old+previousSuffix, "1")
	if info, err := os.Stat(old); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	want(old, "1")
	if undo, err = install(old, old); err != nil || undo() != nil {
		t.Errorf("over itself: %v", err)
	}
	want(old, "1")
	if _, err = install(newer, filepath.Join(dir, "nowhere", "micro")); cloud.CodeOf(err) != cloud.Unavailable {
		t.Errorf("into a folder that is not there: %v", err)
	}
}

func TestShellFormat(t *testing.T) {
	if got := format("rm -f %s %s", "/a b", "/c"); got != "rm -f '/a b' /c" {
		t.Errorf("got %s", got)
	}
}
