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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/source"
	"github.com/protoduction/micro/deploy/deploytest"
	"github.com/protoduction/micro/runtime"
)

// folder is what a test pushes: path → content.
type folder map[string]string

func (f folder) files() (files []api.File) {
	for path, content := range f {
		sum := sha256.Sum256([]byte(content))
		files = append(files, api.File{Path: path, Mode: 0o644, Size: int64(len(content)), Digest: "sha256:" + hex.EncodeToString(sum[:])})
	}
	return files
}

func (f folder) tar(paths []string) io.Reader {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range paths {
		_ = w.WriteHeader(&tar.Header{Name: p, Mode: 0o644, Size: int64(len(f[p])), Typeflag: tar.TypeReg})
		_, _ = w.Write([]byte(f[p]))
	}
	_ = w.Close()
	return &b
}

// Only what changed is sent, and the builder finds the whole folder all the same.
func TestOnlyWhatChangedIsSent(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Unpack = func(r io.Reader, dir string) error {
			return source.Unpack(context.Background(), r, dir, source.Limits{})
		}
	})
	var built []string
	f.cloud.Making = func(ctx context.Context, b runtime.Build) (runtime.Image, error) {
		built = nil
		err := filepath.WalkDir(b.Source, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			info, _ := e.Info()
			name, _ := filepath.Rel(b.Source, path)
			built = append(built, fmt.Sprintf("%s=%s %o", name, data, info.Mode().Perm()))
			return err
		})
		return deploytest.Image, err
	}
	push := func(app cloud.AppName, in folder) (sent []string) {
		t.Helper()
		p := f.create(app, api.PushRequest{Source: &api.Source{Files: in.files()}})
		if p.Missing == nil {
			t.Fatal("the answer does not say what is missing")
		}
		if err := f.send(p.ID, in.tar(p.Missing)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.wait(p.ID); err != nil {
			t.Fatal(err)
		}
		var want []string
		for path, content := range in {
			want = append(want, fmt.Sprintf("%s=%s 644", path, content))
		}
		slices.Sort(want)
		slices.Sort(built)
		if !slices.Equal(built, want) {
			t.Errorf("built %q, want %q", built, want)
		}
		slices.Sort(p.Missing)
		return p.Missing
	}
	in := folder{"Dockerfile": "FROM scratch", "a/b.txt": "same", "a/c.txt": "same", "d": "old"}
	if sent := push("shop", in); len(sent) != 4 {
		t.Errorf("first sent %q", sent)
	}
	if sent := push("shop", in); len(sent) != 0 {
		t.Errorf("unchanged sent %q", sent)
	}
	in["d"], in["e/f"] = "new", "same"
	if sent := push("shop", in); !slices.Equal(sent, []string{"d"}) {
		t.Errorf("changed sent %q", sent)
	}
	delete(in, "a/b.txt")
	if sent := push("shop", in); len(sent) != 0 {
		t.Errorf("without one sent %q", sent)
	}
	if sent := push("other", in); len(sent) != 4 {
		t.Errorf("another app sent %q: its files are not the first one's", sent)
	}
	if err := f.Prune(f.cloud.State()); err != nil {
		t.Fatal(err)
	}
	if sent := push("shop", in); len(sent) != 4 {
		t.Errorf("after prune sent %q", sent)
	}
}

func TestListedFilesMustCome(t *testing.T) {
	f := newFixture(t)
	in := folder{"Dockerfile": "FROM scratch", "x": "y"}
	for name, files := range map[string][]api.File{
		"not sent": in.files(),
		"outside":  {{Path: "../x", Digest: in.files()[0].Digest}},
		"absolute": {{Path: "/etc/passwd", Digest: in.files()[0].Digest}},
		"digest":   {{Path: "x", Digest: "sha256:../../../../../../../etc/passwd"}},
	} {
		p := f.create("shop", api.PushRequest{Source: &api.Source{Files: files}})
		err := f.send(p.ID, strings.NewReader("FROM scratch"))
		if cloud.CodeOf(err) != cloud.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
