package build_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/runtime"
)

// The same folder makes the same image, on every node, at any time, with and without the cache.
func TestSameImage(t *testing.T) {
	began := time.Now()
	first, second := newRig(t, nil), newRig(t, nil)
	dockerfile := base + `
WORKDIR /app
RUN echo $SOURCE_DATE_EPOCH > stamp && mkdir made && echo old > made/old
COPY main.go lib ./
ADD vendor.tar vendor/
RUN rm made/old && echo new > made/new && own 1000 1000 main.go
RUN --mount=type=cache,target=/cache echo x > /cache/x
FROM scratch
COPY --from=0 / /
RUN echo last > /last
WORKDIR /src
COPY . .
`
	src := first.source(t, map[string]string{"Dockerfile": dockerfile, "main.go": "package main", "lib/a": "a", "vendor.tar": vendorTar(t)})
	edited := time.Now().Add(-time.Hour).Truncate(time.Second)
	setTimes(t, src, edited.Add(-time.Minute))
	if err := os.Chtimes(filepath.Join(src, "main.go"), edited, edited); err != nil {
		t.Fatal(err)
	}
	build := func(r *rig, noCache bool, created time.Time) (digest string) {
		t.Helper()
		var out output
		img, err := r.Build(t.Context(), runtime.Build{Name: "shop", Source: src, NoCache: noCache, Created: created, Progress: out.add})
		if err != nil {
			t.Fatal(err, out.log.String())
		}
		return img.Digest
	}
	want := build(first, false, edited)
	for what, got := range map[string]string{
		"without the cache": build(first, true, edited), "from the cache": build(first, false, edited),
		"on another node": build(second, false, edited), "on another node without the cache": build(second, true, edited),
	} {
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	// A change leaves steps in the cache that were made for the folder as it was, before it was changed.
	edited = time.Now().Truncate(time.Second)
	if err := os.WriteFile(filepath.Join(src, "main.go"), []byte("package changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(src, "main.go"), edited, edited); err != nil {
		t.Fatal(err)
	}
	changed := build(first, false, edited)
	if again := build(first, true, edited); changed != again || changed == want {
		t.Errorf("after a change: %s, without the cache %s, before %s", changed, again, want)
	}
	img, err := first.images.Get(t.Context(), changed)
	if err != nil {
		t.Fatal(err)
	}
	if img.Created.Before(began) {
		t.Errorf("the image's record is of %s: the collector would take what has just been made", img.Created)
	}
	files := first.files(t, img.Digest)
	if files["/app/made/new"] != "new\n" || files["/app/main.go"] != "package changed" || len(strings.TrimSpace(files["/app/stamp"])) < 9 {
		t.Errorf("%q", files["/app/stamp"])
	}
	if _, old := files["/app/made/old"]; old {
		t.Error("a deleted file is there")
	}
}

// setTimes gives all files of a folder this time.
func setTimes(t *testing.T, dir string, at time.Time) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}
