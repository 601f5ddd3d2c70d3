package deploy

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/source"
	"github.com/protoduction/micro/deploy/deploytest"
	"github.com/protoduction/micro/runtime"
)

// folder is what a test pushes: path → content; a content of "→x" is a link to x.
type folder map[string]string

func (f folder) list() io.Reader {
	var b bytes.Buffer
	w := source.NewListWriter(&b)
	folders := map[string]bool{}
	for p, content := range f {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			folders[dir] = true
		}
		if to, ok := strings.CutPrefix(content, "→"); ok {
			_ = w.Write(source.Entry{Path: p, Mode: fs.ModeSymlink | 0o777, Link: to})
			continue
		}
		sum := sha256.Sum256([]byte(content))
		_ = w.Write(source.Entry{Path: p, Mode: 0o644, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])})
	}
	for dir := range folders {
		_ = w.Write(source.Entry{Path: dir, Mode: fs.ModeDir | 0o755})
	}
	_ = w.Flush()
	return &b
}

func (f folder) tar(paths []string) io.Reader {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range paths {
		if to, ok := strings.CutPrefix(f[p], "→"); ok {
			_ = w.WriteHeader(&tar.Header{Name: p, Mode: 0o777, Linkname: to, Typeflag: tar.TypeSymlink})
			continue
		}
		_ = w.WriteHeader(&tar.Header{Name: p, Mode: 0o644, Size: int64(len(f[p])), Typeflag: tar.TypeReg})
		_, _ = w.Write([]byte(f[p]))
	}
	_ = w.Close()
	return &b
}

// builds is a fixture whose builder notes what it finds in the folder that it is given.
type builds struct {
	*fixture
	found []string // by the last build
	t     *testing.T
}

func newBuilds(t *testing.T) *builds {
	b := &builds{t: t}
	b.fixture = newFixture(t, func(c *Config) {
		c.Unpack = func(r io.Reader, dir string) ([]source.Entry, error) {
			return source.Unpack(context.Background(), r, dir, source.Limits{})
		}
	})
	b.cloud.Making = func(_ context.Context, r runtime.Build) (runtime.Image, error) {
		list, err := os.Open(r.List)
		if err != nil {
			return runtime.Image{}, err
		}
		defer list.Close()
		listed, err := source.ReadList(context.Background(), list, source.Unlimited)
		if err != nil {
			return runtime.Image{}, err
		}
		if source.Digest(listed) != r.Digest {
			t.Errorf("the digest is not that of what is listed")
		}
		b.found = nil
		inodes := map[uint64]string{}
		for _, e := range listed {
			at := filepath.Join(r.Source, e.Path)
			info, err := os.Lstat(at)
			if err != nil || info.Mode() != e.Mode {
				t.Errorf("listed %s %v, found %v, %v", e.Path, e.Mode, info, err)
				continue
			}
			switch {
			case e.Mode.IsRegular():
				data, err := os.ReadFile(at)
				if sum := sha256.Sum256(data); err != nil || hex.EncodeToString(sum[:]) != e.SHA256 {
					t.Errorf("%s is not what is listed: %v", e.Path, err)
				}
				if same := inodes[info.Sys().(*syscall.Stat_t).Ino]; same != "" {
					t.Errorf("%s and %s are one file", same, e.Path)
				}
				inodes[info.Sys().(*syscall.Stat_t).Ino] = e.Path
				b.found = append(b.found, fmt.Sprintf("%s=%s", e.Path, data))
			case e.Link != "":
				to, _ := os.Readlink(at)
				b.found = append(b.found, e.Path+"=→"+to)
			}
		}
		slices.Sort(b.found)
		return deploytest.Image, err
	}
	return b
}

// push sends a folder as the command line does, and returns the paths of the files that had to be sent; nil
// is all of them.
func (b *builds) push(app cloud.AppName, in folder) (sent []string) {
	b.t.Helper()
	p := b.create(app, api.PushRequest{Source: &api.Source{}})
	if p.Kept {
		var err error
		if p, err = b.ListFiles(b.t.Context(), p.ID, in.list(), func() {}); err != nil {
			b.t.Fatal(err)
		}
	}
	sent = p.Missing
	if sent == nil || len(sent) > 0 {
		paths := sent
		if paths == nil {
			paths = slices.Sorted(maps.Keys(in))
		}
		if err := b.send(p.ID, in.tar(paths)); err != nil {
			b.t.Fatal(err)
		}
	}
	if _, err := b.wait(p.ID); err != nil {
		b.t.Fatal(err)
	}
	var want []string
	for path, content := range in {
		want = append(want, path+"="+content)
	}
	slices.Sort(want)
	if !slices.Equal(b.found, want) {
		b.t.Errorf("built %q, want %q", b.found, want)
	}
	slices.Sort(sent)
	return sent
}

// Only what changed is sent, and the builder finds the whole folder all the same.
func TestOnlyWhatChangedIsSent(t *testing.T) {
	b := newBuilds(t)
	in := folder{"Dockerfile": "FROM scratch", "a/b.txt": "same", "a/c.txt": "same", "a-b": "sorted", "d": "old", "l": "→a/b.txt"}
	if sent := b.push("shop", in); sent != nil {
		t.Errorf("first sent %q", sent)
	}
	for range 2 {
		if sent := b.push("shop", in); sent == nil || len(sent) != 0 {
			t.Errorf("unchanged sent %q", sent)
		}
	}
	in["d"], in["e/f"] = "new", "same"
	if sent := b.push("shop", in); !slices.Equal(sent, []string{"d"}) {
		t.Errorf("changed sent %q", sent)
	}
	delete(in, "a/b.txt")
	in["l"] = "→a/c.txt"
	if sent := b.push("shop", in); sent == nil || len(sent) != 0 {
		t.Errorf("without one sent %q", sent)
	}
	if sent := b.push("other", in); sent != nil {
		t.Errorf("another app sent %q: its files are not the first one's", sent)
	}
	// A push lets go of its files after its end is known.
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		kept, err := filepath.Glob(filepath.Join(b.sources.dir, "default", "*", "*"))
		if err != nil || time.Now().After(end) {
			t.Fatalf("kept are %q, want one folder of each app: %v", kept, err)
		}
		if len(kept) == 2 {
			break
		}
	}
	if err := b.Prune(b.cloud.State()); err != nil {
		t.Fatal(err)
	}
	if sent := b.push("shop", in); sent != nil {
		t.Errorf("after prune sent %q", sent)
	}
}

// What an earlier process has kept is used again, unless the machine was booted meanwhile.
func TestSourcesOutliveTheProcess(t *testing.T) {
	dir, app := t.TempDir(), ref("shop")
	made := &tree{digest: strings.Repeat("ab", 32), dir: filepath.Join(t.TempDir(), "made")}
	if err := os.MkdirAll(made.folder(), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := newSources(dir, "boot 1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.keep(app, made); err != nil {
		t.Fatal(err)
	}
	if s, err = newSources(dir, "boot 1"); err != nil || !s.has(app) || s.last(app).digest != made.digest {
		t.Errorf("the next process has not got it: %v", err)
	}
	if s, err = newSources(dir, "boot 2"); err != nil || s.has(app) {
		t.Errorf("the next boot has it: %v", err)
	}
	// An older micro kept single files.
	old := filepath.Join(dir, "sources", "default", "shop", made.digest+"-644")
	if err := os.MkdirAll(filepath.Dir(old), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "sources", ".boot")); err != nil {
		t.Fatal(err)
	}
	if s, err = newSources(dir, "boot 2"); err != nil || s.has(app) {
		t.Errorf("files of an older micro are taken for a folder: %v", err)
	}
}

// A folder that a push uses stays until the push has ended.
func TestUsedSourcesStay(t *testing.T) {
	s, err := newSources(t.TempDir(), "boot")
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, digest := range []string{strings.Repeat("ab", 32), strings.Repeat("cd", 32)} {
		made := &tree{digest: digest, dir: filepath.Join(s.dir, "made")}
		if err := os.MkdirAll(made.folder(), 0o700); err != nil {
			t.Fatal(err)
		}
		kept, err := s.keep(ref("shop"), made)
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, kept.dir)
		if len(dirs) == 2 {
			continue
		}
		if held := s.last(ref("shop")); held != kept {
			t.Fatalf("the last one is %v", held)
		}
		defer func() {
			for _, want := range []bool{true, false} { // held twice
				if err := s.release(kept); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(kept.dir); (err == nil) != want {
					t.Errorf("after a release it is there: %v, want %v", err == nil, want)
				}
			}
		}()
	}
	if _, err := os.Stat(dirs[0]); err != nil {
		t.Errorf("a folder in use was removed: %v", err)
	}
}

func TestListedFilesMustCome(t *testing.T) {
	b := newBuilds(t)
	b.push("shop", folder{"Dockerfile": "FROM scratch", "a": "b"})
	line := func(path string) io.Reader {
		return strings.NewReader(fmt.Sprintf(`{"path":%q,"mode":420,"digest":"sha256:%064d"}`+"\n", path, 0))
	}
	for name, list := range map[string]io.Reader{
		"outside":  line("../x"),
		"absolute": line("/etc/passwd"),
		"digest":   strings.NewReader(`{"path":"x","mode":420,"digest":"sha256:../../../../../../../etc/passwd"}`),
		"parent":   line("x/y"),
		"link":     strings.NewReader(`{"path":"x","mode":511,"link":"../../etc/passwd"}`),
		"setuid":   strings.NewReader(fmt.Sprintf(`{"path":"x","mode":2541,"digest":"sha256:%064d"}`, 0)),
		"broken":   strings.NewReader(`{"path":`),
	} {
		p := b.create("shop", api.PushRequest{Source: &api.Source{}})
		if _, err := b.ListFiles(t.Context(), p.ID, list, func() {}); cloud.CodeOf(err) != cloud.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	in := folder{"Dockerfile": "FROM scratch", "x": "y", "dir/z": "new"}
	for name, paths := range map[string][]string{"not sent": {"x"}, "sent as a link": {"x", "dir"}} {
		p := b.create("shop", api.PushRequest{Source: &api.Source{}})
		p, err := b.ListFiles(t.Context(), p.ID, in.list(), func() {})
		if err != nil || len(p.Missing) != 2 {
			t.Fatalf("%s: missing %q, %v", name, p.Missing, err)
		}
		sent := folder{"x": "y", "dir": "→.."}
		if name == "sent as a link" {
			sent["dir"] = "→x"
		}
		if err := b.send(p.ID, sent.tar(paths)); cloud.CodeOf(err) != cloud.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
