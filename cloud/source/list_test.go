package source

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// What is unpacked of a folder, and what a list of it says, is the same folder.
func TestListAndTarAgree(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"a/b": "1", "a-b": "2", "a.b/c": "3", "A": "", "a/z/z": strings.Repeat("long", maxBuffered)} {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a/b", filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	set, err := Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var stream, list bytes.Buffer
	if err := set.WriteTar(t.Context(), &stream, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := set.WriteList(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	unpacked, err := Unpack(t.Context(), &stream, filepath.Join(t.TempDir(), "to"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	listed, err := ReadList(t.Context(), &list, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	paths := func(all []Entry) (paths []string) {
		for _, e := range all {
			paths = append(paths, fmt.Sprint(e.Path, " ", e.Mode, " ", e.Size, " ", e.SHA256, folderless(e)))
		}
		return paths
	}
	if got, want := paths(unpacked), paths(listed); !slices.Equal(got, want) {
		t.Errorf("unpacked %q, listed %q", got, want)
	}
	if Digest(unpacked) != Digest(listed) || Digest(listed) == Digest(listed[1:]) {
		t.Error("digests do not tell folders apart")
	}
}

// folderless is a file's time: folders get theirs where they are unpacked.
func folderless(e Entry) int64 {
	if e.Mode.IsDir() {
		return 0
	}
	return e.ModTime.UnixNano()
}

func TestDigestSeesWhatABuildSees(t *testing.T) {
	base := Entry{Path: "a", Mode: 0o644, SHA256: strings.Repeat("0", 64)}
	seen := map[string]string{}
	f := func(name string, e Entry, same bool) {
		t.Helper()
		d := Digest([]Entry{e})
		if before, ok := seen[d]; ok != same {
			t.Errorf("%s: as %q before: %v, want %v", name, before, ok, same)
		}
		seen[d] = name
	}
	e := base
	f("base", e, false)
	e.ModTime = time.Unix(5, 0)
	f("time", e, false)
	e.ModTime = time.Unix(5, 700)
	f("part of a second", e, true)
	e = base
	e.Mode = 0o755
	f("mode", e, false)
	e = base
	e.Path = "b"
	f("path", e, false)
	e = base
	e.SHA256 = strings.Repeat("1", 64)
	f("content", e, false)
	f("folder", Entry{Path: "a", Mode: fs.ModeDir | 0o644}, false)
	f("link", Entry{Path: "a", Mode: fs.ModeSymlink | 0o777, Link: "b"}, false)
	f("other link", Entry{Path: "a", Mode: fs.ModeSymlink | 0o777, Link: "c"}, false)
}

func TestReadListRefuses(t *testing.T) {
	file := func(path string) string {
		return fmt.Sprintf(`{"path":%q,"mode":420,"size":3,"digest":"sha256:%064d"}`, path, 0)
	}
	for name, c := range map[string]struct{ list, says string }{
		"twice":          {file("a") + file("a"), "twice"},
		"below a file":   {file("a") + file("a/b"), "no folder"},
		"below nothing":  {file("a/b"), "no folder"},
		"not clean":      {file("./a"), "clean"},
		"dots":           {file("../a"), "has .. in its name"},
		"root":           {file("."), "clean"},
		"absolute":       {file("/a"), "absolute"},
		"no digest":      {`{"path":"a","mode":420}`, "digest"},
		"folder, link":   {`{"path":"a","mode":420,"dir":true,"link":"b"}`, "folder and a link"},
		"leads out":      {`{"path":"a","mode":511,"link":"../b"}`, "out of the folder"},
		"setuid":         {`{"path":"a","mode":2541,"digest":"x"}`, "set-user-ID"},
		"long line":      {`{"path":"` + strings.Repeat("a", 70<<10) + `"}`, "more than"},
		"too many":       {file("a") + file("b") + file("c") + file("d"), "more than 3"},
		"too large":      {file("a") + strings.Replace(file("b"), `"size":3`, `"size":98`, 1), "larger than"},
		"negative":       {strings.Replace(file("a"), `"size":3`, `"size":-1`, 1), "larger than"},
		"another format": {"hello", "broken"},
	} {
		_, err := ReadList(t.Context(), strings.NewReader(c.list), Limits{Bytes: 100, Entries: 3})
		if cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadList(ctx, strings.NewReader(file("a")), Limits{}); cloud.CodeOf(err) != cloud.Interrupted {
		t.Errorf("cancelled: %v", err)
	}
}

// FuzzReadList: whatever the bytes, a list that is accepted is one folder's.
func FuzzReadList(f *testing.F) {
	f.Add([]byte(`{"path":"a","dir":true,"mode":493}{"path":"a/b","mode":420,"digest":"sha256:` + strings.Repeat("0", 64) + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ReadList(t.Context(), bytes.NewReader(data), Limits{})
		if err != nil {
			return
		}
		folders := map[string]bool{".": true}
		for _, e := range list {
			if !filepath.IsLocal(e.Path) || !folders[filepath.Dir(e.Path)] {
				t.Errorf("%q is in no folder of the list", e.Path)
			}
			folders[e.Path] = e.Mode.IsDir()
		}
	})
}
