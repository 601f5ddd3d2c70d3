package containers

import (
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/protoduction/micro/runtime"
)

// TestVolumeFolders checks that folders which an image declares but does not contain are made for root, whichever user
// runs, and that existing ones are not changed.
func TestPromisedFolders(t *testing.T) {
	r := newRig(t)
	source := filepath.Join(r.dir, "volume")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(source, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	c := r.container("stat", "/data", "/var/lib/app", "/vol", "/vol/cache/new", "/srv/app", "/probe", "/etc/passwd", "/outside")
	c.Image = r.load(func(i *v1.Config) {
		i.User, i.WorkingDir = "app", "/srv/app"
		i.Volumes = map[string]struct{}{
			"/data": {}, "var/lib/app/": {}, "/vol": {}, "/vol/cache/new": {}, "/etc/passwd": {}, "/": {}, "../../outside": {},
		}
	})
	c.Mounts = []runtime.Mount{{Source: source, Target: "/vol"}}
	out, x := r.run(c)
	if x.Code != 0 {
		t.Errorf("%+v", x)
	}
	assertLines(t, out, "/data 40755 0:0", "/var/lib/app 40755 0:0", "/vol 40755 1000:1000", "/vol/cache/new 40755 0:0",
		"/srv/app 40755 0:0", "/etc/passwd 100755 0:0", "/outside 40755 0:0")
	if _, err := os.Stat("/outside"); err == nil {
		t.Error("a folder was made on the host")
	}
}

// TestLinksStayInside checks that links of an image lead to its own files, never to the host's.
func TestPromisedFolderIsMadeInside(t *testing.T) {
	dir := t.TempDir()
	root, outside := filepath.Join(dir, "root"), filepath.Join(dir, "outside")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(root, "real"), 0o755), os.Mkdir(outside, 0o755),
		os.Symlink("/real", filepath.Join(root, "abs")), os.Symlink("../../../outside", filepath.Join(root, "up")),
		os.Symlink(outside, filepath.Join(root, "away")), os.WriteFile(filepath.Join(root, "file"), nil, 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, ok := range map[string]bool{
		"abs/a/b": true, "real/c": true, "up/d": false, "away/e": false, "file/f": false, "file": true, "../../g": true,
	} {
		if err := makeIn(f, name, 0); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, made := range []string{"root/real/a/b", "root/real/c", "root/g"} {
		if fi, err := os.Stat(filepath.Join(dir, made)); err != nil || fi.Mode() != os.ModeDir|0o755 {
			t.Errorf("%s: %v, %v", made, fi, err)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside: %v, %v", left, err)
	}
}
