package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud/source"
)

// Two clones of a commit have the same times, whenever they were made; what is not as in the commit has its own.
func TestStamp(t *testing.T) {
	dir := t.TempDir()
	origin, clone := filepath.Join(dir, "origin"), filepath.Join(dir, "clone")
	at := func(minute int) time.Time { return time.Date(2020, 1, 1, 0, minute, 0, 0, time.UTC) }
	git := func(in string, when time.Time, args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", in, "-c", "user.name=a", "-c", "user.email=a@b.test"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE="+when.Format(time.RFC3339), "GIT_AUTHOR_DATE="+when.Format(time.RFC3339), "GIT_CONFIG_GLOBAL=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(dir string, created time.Time, want map[string]time.Time) {
		t.Helper()
		set, err := source.Open(dir, "Dockerfile")
		if err != nil {
			t.Fatal(err)
		}
		defer set.Close()
		if got := stamp(t.Context(), dir, set); !got.Equal(created) {
			t.Errorf("created %v, want %v", got, created)
		}
		for _, e := range set.Entries {
			if w, ok := want[e.Path]; ok && !e.ModTime.Equal(w) {
				t.Errorf("%s: %v, want %v", e.Path, e.ModTime, w)
			}
			delete(want, e.Path)
		}
		if len(want) > 0 {
			t.Errorf("not listed: %v", want)
		}
	}
	now := time.Now()
	write(filepath.Join(dir, "origin", "app", "Dockerfile"), "FROM scratch")
	write(filepath.Join(dir, "origin", "app", "lib", "na me\n.txt"), "x")
	write(filepath.Join(dir, "origin", "other"), "x")
	git(origin, now, "init", "-q", "-b", "main")
	git(origin, now, "add", ".")
	git(origin, at(1), "commit", "-qm", "one")
	write(filepath.Join(dir, "origin", "app", "main.go"), "x")
	git(origin, now, "add", ".")
	git(origin, at(2), "commit", "-qm", "two")
	git(dir, now, "clone", "-q", origin, clone)
	want := func() map[string]time.Time {
		return map[string]time.Time{"Dockerfile": at(1), "lib/na me\n.txt": at(1), "main.go": at(2)}
	}
	for _, d := range []string{origin, clone} {
		check(filepath.Join(d, "app"), at(2), want())
	}
	// Edited, and not in git's hands.
	edited, added := filepath.Join(clone, "app", "main.go"), filepath.Join(clone, "app", "new")
	write(edited, "y")
	write(added, "y")
	for path, when := range map[string]time.Time{edited: at(7), added: at(8)} {
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	check(filepath.Join(clone, "app"), at(8), map[string]time.Time{"Dockerfile": at(1), "main.go": at(7), "new": at(8)})
	// No history, or only a part of it: the times on the disk.
	shallow := filepath.Join(dir, "shallow")
	git(dir, now, "clone", "-q", "--depth", "1", "file://"+origin, shallow)
	err := filepath.WalkDir(shallow, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, at(9), at(9))
	})
	if err != nil {
		t.Fatal(err)
	}
	check(filepath.Join(shallow, "app"), at(9), map[string]time.Time{"main.go": at(9)})
}
