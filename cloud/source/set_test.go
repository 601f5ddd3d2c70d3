package source

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// write makes a folder of "path" or "path=content"; a path that ends with a slash is a folder, and
// "path->target" a link.
func write(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name, content, _ := strings.Cut(f, "=")
		name, target, isLink := strings.Cut(name, "->")
		p := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		case isLink:
			err = os.Symlink(target, p)
		default:
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// paths are the set's files and links.
func paths(s *Set) []string {
	var ps []string
	for _, e := range s.Entries {
		if !e.Mode.IsDir() {
			ps = append(ps, e.Path)
		}
	}
	return ps
}

func open(t testing.TB, dir string, dockerfile ...string) *Set {
	t.Helper()
	s, err := Open(dir, strings.Join(dockerfile, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestIgnore(t *testing.T) {
	f := func(name, want string, files ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			if got := strings.Join(paths(open(t, write(t, files...))), " "); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	f("nothing is ignored", "a b/c", "b/c", "a")
	f("always left out, at every level", ".github/x a/.gitkeep b",
		".git/config", ".svn/x", ".hg/x", ".DS_Store", "a/.git", "a/.DS_Store", "a/.gitkeep", ".github/x", "b")
	f(".microignore is first", ".cfignore .dockerignore .gitignore .microignore b",
		".microignore=a", ".cfignore=b", ".dockerignore=b", ".gitignore=b", "a", "b")
	f(".cfignore is second", ".cfignore .dockerignore b", ".cfignore=a", ".dockerignore=b", "a", "b")
	f(".dockerignore is third", ".dockerignore .gitignore b", ".dockerignore=a", ".gitignore=b", "a", "b")
	f(".gitignore is last", ".gitignore b", ".gitignore=a", "a", "b")

	f("git: names at every level, anchored ones at the top", ".gitignore x/top",
		".gitignore=*.log\nbuild/\n/top\n# comment\n", "a.log", "x/b.log", "build/x", "x/build/y", "top", "x/top")
	f("git: the last pattern wins", ".gitignore keep.log x/keep.log", ".gitignore=*.log\n!keep.log", "a.log", "keep.log", "x/keep.log")
	f("git: nothing comes back below an ignored folder", ".gitignore", ".gitignore=out/\n!out/keep", "out/keep", "out/x")
	f("git: all but one", ".gitignore out/keep", ".gitignore=out/*\n!out/keep", "out/keep", "out/x", "out/y/z")
	f("git: rules below hold below", ".gitignore a/.gitignore a- b/x c/a/x",
		".gitignore=", "a/.gitignore=x\n/y", "a/x", "a/y", "a/z/x", "b/x", "c/a/x", "a-")
	f("git: nested rules win", ".gitignore a/.gitignore a/x.log", ".gitignore=*.log", "a/.gitignore=!x.log", "a/x.log", "a/y.log", "x.log")
	f("git: two stars", ".gitignore a/b/y x/k", ".gitignore=a/**/x\n**/z\nq/**\n", "a/x", "a/b/x", "a/b/c/x", "a/b/y", "z", "x/z", "x/k", "q/a/b")
	f("git: escapes and spaces", `.gitignore x y`, ".gitignore=\\#a\n\\!b\nc\\ \nd  \n", "#a", "!b", "c ", "d", "x", "y")
	f("git: classes", ".gitignore a] ac", ".gitignore=a[ab]\nx[!0-9]\n[[:digit:]]\n", "aa", "ab", "ac", "xz", "5", "a]")
	f("git: carriage returns and a byte order mark", ".gitignore b", ".gitignore=\ufeffa\r\n", "a", "b")
	f("git: a broken pattern matches nothing", ".gitignore a", ".gitignore=[a\n", "a")

	f("docker: anchored, with ! anywhere", ".dockerignore b/a out/keep/x",
		".dockerignore=a\nout\n!out/keep\n", "a", "b/a", "out/x", "out/keep/x")
	f("docker: all but some", ".dockerignore src/a.go", ".dockerignore=*\n!**/*.go\n!.dockerignore", "src/a.go", "src/b.txt", "README", "doc/")
	f("docker: Dockerfile is sent whatever is ignored", "Dockerfile src/a", ".dockerignore=*\n!src", "Dockerfile", "src/a", "x")
}

func TestKeep(t *testing.T) {
	dir := write(t, ".gitignore=docker/\n", "docker/prod/Dockerfile", "docker/prod/x", "a")
	if got := strings.Join(paths(open(t, dir, "./docker/prod/Dockerfile")), " "); got != ".gitignore a docker/prod/Dockerfile" {
		t.Error(got)
	}
}

// The file beside the Dockerfile counts where it is there, and the links on the way to the Dockerfile are sent.
func TestDockerfile(t *testing.T) {
	for _, tt := range []struct {
		dockerfile, ignore, want, apart string
		files                           []string
	}{
		{"worker.Dockerfile", "worker.Dockerfile.dockerignore", ".dockerignore Dockerfile worker/a worker.Dockerfile worker.Dockerfile.dockerignore", "",
			[]string{"Dockerfile", ".dockerignore=worker", "worker.Dockerfile", "worker.Dockerfile.dockerignore=web/", "web/a", "worker/a"}},
		{"Dockerfile", ".dockerignore", ".dockerignore Dockerfile web/a worker.Dockerfile worker.Dockerfile.dockerignore", "",
			[]string{"Dockerfile", ".dockerignore=worker", "worker.Dockerfile", "worker.Dockerfile.dockerignore=web/", "web/a", "worker/a"}},
		{"./docker/prod", "docker/prod.dockerignore", "a docker/prod docker/prod.dockerignore", "", []string{".dockerignore=*", "docker/prod", "docker/prod.dockerignore=.d*\nb", "a", "b"}},
		{"d", ".microignore", ".microignore d d.dockerignore", "", []string{".microignore=a", "d", "d.dockerignore=.m*", "a"}},
		{"", ".dockerignore", "Dockerfile a docker/Dockerfile", "docker/Dockerfile", []string{".dockerignore=docker/\n.*", "Dockerfile->docker/Dockerfile", "docker/Dockerfile", "docker/x", "a"}},
		{"", ".dockerignore", "Dockerfile a b/c/e b/l", "Dockerfile b/c/e b/l", []string{".dockerignore=**\n!a", "Dockerfile->b/l", "b/l->c/d/../e", "b/c/e", "b/c/d/x", "a"}},
		{"d/f", ".dockerignore", "d e/f", "d e/f", []string{".dockerignore=*", "d->e", "e/f", "e/g"}},
		{"", ".dockerignore", "Dockerfile", "Dockerfile", []string{".dockerignore=*", "Dockerfile->Dockerfile"}},
		{"none", ".dockerignore", "a", "", []string{".dockerignore=.*", "a"}},
	} {
		s := open(t, write(t, tt.files...), tt.dockerfile)
		if got := strings.Join(paths(s), " "); got != tt.want || s.Ignore != tt.ignore || strings.Join(s.Apart, " ") != tt.apart {
			t.Errorf("%s of %q: %s by %s, apart %s; want %s by %s, apart %s", tt.dockerfile, tt.files, got, s.Ignore, s.Apart, tt.want, tt.ignore, tt.apart)
		}
	}
}

// Names that neither a build nor JSON can carry are refused where they would be sent.
func TestNamesThatAreNotUTF8(t *testing.T) {
	_, err := Open(write(t, "caf\xe9.txt", "a/\xff/b", "l->caf\xe9.txt", "é\u20ac", "x/\xfe"), "")
	for _, says := range []string{`the name of "caf\xe9.txt" is not UTF-8`, `the name of "a/\xff" is not`, `link "l" points to a name that is not UTF-8, "caf\xe9.txt"`, `"x/\xfe"`} {
		if cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
	s := open(t, write(t, ".microignore=caf?.txt\nx/\nd/*.o\n", "caf\xe9.txt", "x/\xfe", "d/\xff.o", "a"))
	if got := strings.Join(paths(s), " "); got != ".microignore a" {
		t.Error(got)
	}
}

// TestLikeGit: on random trees and rules we send exactly what git itself would add.
func TestLikeGit(t *testing.T) {
	names := []string{"a", "b", "ab", "c.x", "d"}
	parts := []string{"a", "b", "*", "**", "a*", "?", "[ab]", "*.x", "d", "ab", "[!a]"}
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		pick := func(from []string) string { return from[rng.IntN(len(from))] }
		rules := func() string {
			var b strings.Builder
			for range 1 + rng.IntN(4) {
				b.WriteString([]string{"", "", "!"}[rng.IntN(3)] + []string{"", "", "/"}[rng.IntN(3)])
				for i := range 1 + rng.IntN(3) {
					if i > 0 {
						b.WriteString("/")
					}
					b.WriteString(pick(parts))
				}
				b.WriteString([]string{"", "", "/"}[rng.IntN(3)] + "\n")
			}
			return b.String()
		}
		files := []string{".gitignore=" + rules(), pick(names[:3]) + "_/.gitignore=" + rules()}
		for range 25 {
			var p []string
			for range 1 + rng.IntN(4) {
				p = append(p, pick(names))
			}
			files = append(files, strings.Join(p[:len(p)-1], "_/")+map[bool]string{true: "_/"}[len(p) > 1]+p[len(p)-1])
		}
		dir := write(t, files...)
		git := func(args ...string) string {
			cmd := exec.Command("git", args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "HOME="+dir, "XDG_CONFIG_HOME="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("git %v: %v\n%s", args, err, out)
			}
			return string(out)
		}
		git("init", "-q")
		want := strings.Fields(git("ls-files", "--others", "--exclude-standard"))
		slices.Sort(want)
		got := paths(open(t, dir, "none"))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("seed %d: %q\ngot  %v\nwant %v", seed, files[:2], got, want)
		}
	}
}

func TestLinks(t *testing.T) {
	s := open(t, write(t, "a/b=x", "inside->a/b", "a/up->../a", "dangling->nowhere", "loop->loop", "a/round->up/b"))
	if got := strings.Join(paths(s), " "); got != "a/b a/round a/up dangling inside loop" {
		t.Error(got)
	}
	_, err := Open(write(t, "x/y/root->../..", "x/y/trick->root/../q", "abs->/etc/passwd", "up->../q", "deep/up->../../q", "x/ok->y"), "")
	for _, name := range []string{"abs", "deep/up", "up", "x/y/trick"} {
		if cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), `link "`+name+`" points outside the folder`) {
			t.Errorf("%s in %v", name, err)
		}
	}
	if err != nil && strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("four links in %v", err)
	}
}

func TestOddFiles(t *testing.T) {
	dir := write(t, "a", ".microignore=ignored\n")
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "ignored"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Open(dir, "")
	if cloud.CodeOf(err) != cloud.Invalid || err.Error() != `"fifo" is a FIFO`+"\n"+`"sock" is a socket` || cloud.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	if _, err := Open(filepath.Join(dir, "none"), ""); cloud.CodeOf(err) != cloud.NotFound {
		t.Error(err)
	}
	if _, err := Open(filepath.Join(dir, "a"), ""); cloud.CodeOf(err) != cloud.Invalid {
		t.Error(err)
	}
}

func TestRoundTrip(t *testing.T) {
	long := strings.Repeat("long/", 40) + strings.Repeat("n", 200)
	dir := write(t, "run.sh=#!/bin/sh", "sub/empty/", "sub/data="+strings.Repeat("x", 100_000), "sub/link->../run.sh", long+"=deep", "umläut=ü")
	if err := os.Chmod(filepath.Join(dir, "run.sh"), 0o4755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "sub"), 0o555); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	var first, second bytes.Buffer
	var progress int64
	if err := s.WriteTar(t.Context(), &first, nil, func(n int64) { progress = n }); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).WriteTar(t.Context(), &second, nil, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two streams of one folder differ")
	}
	if progress != s.Bytes() || progress < 100_000 {
		t.Errorf("progress %d of %d", progress, s.Bytes())
	}
	to := filepath.Join(t.TempDir(), "to")
	if _, err := Unpack(t.Context(), &first, to, Limits{}); err != nil {
		t.Fatal(err)
	}
	back := open(t, to)
	for _, set := range []*Set{s, back} {
		if err := set.Hash(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.Entries) != len(back.Entries) {
		t.Fatalf("%d entries came back of %d", len(back.Entries), len(s.Entries))
	}
	for i, e := range s.Entries {
		b := back.Entries[i]
		if e.Mode.IsRegular() && !e.ModTime.Truncate(time.Second).Equal(b.ModTime) {
			t.Errorf("%s: time %v, want %v", e.Path, b.ModTime, e.ModTime)
		}
		e.ModTime = b.ModTime
		e.id, b.id = identity{}, identity{} // another file
		if e != b {
			t.Errorf("got %+v, want %+v", b, e)
		}
	}
	sum := sha256.Sum256([]byte("#!/bin/sh"))
	if e := s.Entries[slices.IndexFunc(s.Entries, func(e Entry) bool { return e.Path == "run.sh" })]; e.SHA256 != hex.EncodeToString(sum[:]) || e.Mode != 0o755 {
		t.Errorf("%+v", e)
	}
}

// TestOnlyWhatIsAskedFor: content that the receiver has is not sent again.
func TestOnlyWhatIsAskedFor(t *testing.T) {
	s := open(t, write(t, "a=1", "b=2", "c/d=3"))
	var b bytes.Buffer
	if err := s.WriteTar(t.Context(), &b, func(e Entry) bool { return e.Path == "b" }, nil); err != nil {
		t.Fatal(err)
	}
	var names []string
	for tr := tar.NewReader(&b); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if fmt.Sprint(names) != "[b c/]" {
		t.Error(names)
	}
}

// A log file that grows is sent as far as it was when it was listed.
func TestGrowing(t *testing.T) {
	dir := write(t, "dev.log=one\n")
	s := open(t, dir)
	grow := func() {
		f, err := os.OpenFile(filepath.Join(dir, "dev.log"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("more\n"); err != nil {
			t.Fatal(err)
		}
	}
	grow()
	if err := s.Hash(t.Context()); err != nil {
		t.Fatal(err)
	}
	grow()
	var b bytes.Buffer
	if err := s.WriteTar(t.Context(), &b, nil, nil); err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(&b)
	if _, err := tr.Next(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(tr); string(got) != "one\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	// One that was written anew is not what was listed.
	if err := os.WriteFile(filepath.Join(dir, "dev.log"), []byte("two\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteTar(t.Context(), io.Discard, nil, nil); cloud.CodeOf(err) != cloud.Conflict || !strings.Contains(err.Error(), `"dev.log" was changed`) {
		t.Error(err)
	}
}

func TestChanged(t *testing.T) {
	dir := write(t, "a=12345")
	s := open(t, dir)
	if err := os.Truncate(filepath.Join(dir, "a"), 2); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteTar(t.Context(), io.Discard, nil, nil); cloud.CodeOf(err) != cloud.Conflict {
		t.Error(err)
	}
	os.Remove(filepath.Join(dir, "a"))
	if err := syscall.Mkfifo(filepath.Join(dir, "a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteTar(t.Context(), io.Discard, nil, nil); cloud.CodeOf(err) != cloud.Conflict {
		t.Error(err)
	}
	os.Remove(filepath.Join(dir, "a"))
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteTar(t.Context(), io.Discard, nil, nil); err == nil {
		t.Error("a link that took the file's place was followed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.WriteTar(ctx, io.Discard, nil, nil); cloud.CodeOf(err) != cloud.Interrupted {
		t.Error(err)
	}
}
