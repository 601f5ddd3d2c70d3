package repository

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/object"
)

// repo is a Git server with one repository, and the program that changes it.
type repo struct {
	t        *testing.T
	dir, url string
}

func newRepo(t *testing.T, password string) *repo {
	t.Helper()
	r := &repo{t: t, dir: t.TempDir()}
	r.git("init", "-q", "-b", "main")
	r.git("config", "uploadpack.allowReachableSHA1InWant", "true")
	program, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	server := &cgi.Handler{Path: program, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + r.dir, "GIT_HTTP_EXPORT_ALL=1"}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if _, p, _ := q.BasicAuth(); p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		server.ServeHTTP(w, q)
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL + "/.git"
	return r
}

var committed = time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC)

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", r.dir, "-c", "user.name=a", "-c", "user.email=a@b.test", "-c", "protocol.file.allow=always"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE="+committed.Format(time.RFC3339), "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) commit(files map[string]string) string {
	r.t.Helper()
	for name, text := range files {
		path := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	r.git("add", "-A")
	r.git("commit", "-qm", "x")
	return r.git("rev-parse", "HEAD")
}

func TestResolve(t *testing.T) {
	r := newRepo(t, "")
	first := r.commit(map[string]string{"a": "1"})
	r.git("tag", "light")
	r.git("tag", "-a", "-m", "x", "annotated")
	r.git("branch", "side")
	r.git("branch", "light-too")
	second := r.commit(map[string]string{"a": "2"})
	r.git("tag", "side") // of the same name as a branch, which goes first
	tag := r.git("rev-parse", "annotated")
	remote := Remote{URL: r.url, HTTP: http.DefaultClient}
	for _, tt := range []struct{ name, checksum, want, fails string }{
		{"", "", second, ""}, {"main", "", second, ""}, {"refs/heads/main", "", second, ""}, {"heads/main", "", second, ""},
		{"side", "", first, ""}, {"tags/side", "", second, ""}, {"light", "", first, ""}, {"annotated", "", first, ""},
		{first, "", first, ""}, {"main", second[:7], second, ""}, {"annotated", first[:12], first, ""}, {"annotated", tag, first, ""},
		{"main", first, "", "want " + first}, {first, second, "", "checksum"}, {"nope", "", "", `no branch or tag "nope"`},
	} {
		got, err := remote.Resolve(t.Context(), tt.name, tt.checksum)
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%q %q: %q, %v; want %q", tt.name, tt.checksum, got, err, tt.fails)
			}
		} else if err != nil || got != tt.want {
			t.Errorf("%q %q: %q, %v; want %q", tt.name, tt.checksum, got, err, tt.want)
		}
	}
	for url, want := range map[string]string{"git@github.com:a/b.git": "by ssh is not supported", "file:///tmp": "by file is not supported", r.url + "x": "repository not found"} {
		if _, err := (Remote{URL: url, HTTP: http.DefaultClient}).Resolve(t.Context(), "main", ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

func TestFetch(t *testing.T) {
	r := newRepo(t, "secret")
	r.commit(map[string]string{"old": "gone later", "big": strings.Repeat("line\n", 5000)})
	if err := os.Remove(filepath.Join(r.dir, "old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../big", filepath.Join(r.dir, "link")); err != nil {
		t.Fatal(err)
	}
	first := r.commit(map[string]string{"sub/dir/f": "f", "run.sh": "#!"})
	if err := os.Chmod(filepath.Join(r.dir, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	head := r.commit(map[string]string{"big": strings.Repeat("line\n", 5000) + "more"}) // a delta of the other
	remote := Remote{URL: r.url, Token: "secret", HTTP: http.DefaultClient}
	fetch := func(commit, folder string) (string, error) {
		dir, temp := t.TempDir(), t.TempDir()
		err := remote.Fetch(t.Context(), commit, temp, func(c *object.Commit) error { return Write(c, folder, dir, false) })
		if left, _ := os.ReadDir(temp); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		return dir, err
	}
	dir, err := fetch(head, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"big": strings.Repeat("line\n", 5000) + "more", "sub/dir/f": "f", "run.sh": "#!"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		info, err2 := os.Stat(filepath.Join(dir, name))
		if err != nil || err2 != nil || string(got) != want || !info.ModTime().Equal(committed) || (info.Mode()&0o111 != 0) != (name == "run.sh") {
			t.Errorf("%s: %d bytes, %v, %v", name, len(got), info, err)
		}
	}
	if target, err := os.Readlink(filepath.Join(dir, "link")); err != nil || target != "../big" {
		t.Error(target, err)
	}
	for _, none := range []string{"old", ".git"} {
		if _, err := os.Lstat(filepath.Join(dir, none)); err == nil {
			t.Errorf("%s is there", none)
		}
	}
	if dir, err = fetch(first, "sub"); err != nil { // not a tip
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "dir", "f")); err != nil || string(got) != "f" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := fetch(head, "nope"); err == nil || !strings.Contains(err.Error(), `folder "nope"`) {
		t.Error(err)
	}
	remote.Token = "wrong"
	if _, err := fetch(head, ""); err == nil || !strings.Contains(err.Error(), "authentication required") {
		t.Error(err)
	}
	remote.Token = "secret"
	other := newRepo(t, "")
	other.commit(map[string]string{"x": "x"})
	r.git("submodule", "add", "-q", other.dir, "module")
	with := r.commit(nil)
	if _, err := fetch(with, ""); err == nil || !strings.Contains(err.Error(), "module is a submodule") {
		t.Error(err)
	}
}
