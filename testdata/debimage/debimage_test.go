package debimage

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"io"
	"os"
	"path"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Leaving packages out is a guess until every program in the image finds every library that it names.
func TestPresetsAreClosed(t *testing.T) {
	for _, name := range Presets() {
		t.Run(name, func(t *testing.T) {
			root := layer(t, open(t, name))
			libraries := map[string]bool{}
			for file := range root {
				libraries[path.Base(file)] = true
			}
			programs := 0
			for file, e := range root {
				program, err := elf.NewFile(bytes.NewReader(e.body))
				if err != nil {
					continue
				}
				programs++
				needed, err := program.ImportedLibraries()
				if err != nil {
					t.Errorf("%s: %v", file, err)
				}
				for _, library := range needed {
					if !libraries[library] {
						t.Errorf("%s needs %s, which is not in the image", file, library)
					}
				}
			}
			if programs == 0 {
				t.Error("the image has no programs")
			}
		})
	}
}

func TestImageIsUsable(t *testing.T) {
	archive := open(t, "postgres")
	root := layer(t, archive)
	for _, c := range []struct {
		path   string
		kind   byte
		mode   int64
		owner  int
		target string
	}{
		{"tmp", tar.TypeDir, 0o1777, 0, ""},
		{"bin", tar.TypeSymlink, 0o777, 0, "usr/bin"},
		{"usr/bin/sh", tar.TypeSymlink, 0o777, 0, "/usr/bin/busybox"},
		{"var/run", tar.TypeSymlink, 0o777, 0, "../run"},
		{"etc/passwd", tar.TypeReg, 0o644, 0, ""},
		{"etc/shadow", tar.TypeReg, 0o640, 0, ""},
		{"var/lib/postgresql/data", tar.TypeDir, 0o700, 999, ""},
		{"usr/local/bin/docker-entrypoint.sh", tar.TypeReg, 0o755, 0, ""},
	} {
		e := root[c.path]
		if e == nil {
			t.Errorf("no %s", c.path)
		} else if e.Typeflag != c.kind || e.Mode != c.mode || e.Uid != c.owner || e.Gid != c.owner || e.Linkname != c.target {
			t.Errorf("%s: %c %o %d:%d %q", c.path, e.Typeflag, e.Mode, e.Uid, e.Gid, e.Linkname)
		}
	}
	if text := string(root["etc/passwd"].body); !strings.Contains(text, "\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n") {
		t.Errorf("etc/passwd:\n%s", text)
	}
	if n := bytes.Count(root["etc/ssl/certs/ca-certificates.crt"].body, []byte("BEGIN CERTIFICATE")); n < 100 {
		t.Errorf("%d certificates", n)
	}
	var index v1.Index
	if err := json.Unmarshal(archive["index.json"].body, &index); err != nil {
		t.Fatal(err)
	}
	if got := index.Manifests[0].Annotations["io.containerd.image.name"]; got != "micro.local/postgres:latest" {
		t.Errorf("image name %q", got)
	}
}

func TestSameBytesTwice(t *testing.T) {
	sums := map[[32]byte]bool{}
	for range 2 {
		t.Setenv("XDG_CACHE_HOME", sharedPackages(t))
		recipe, _ := Preset("base")
		file, err := Build(t.Context(), recipe, false)
		if err != nil {
			t.Fatal(err)
		}
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sums[sha256.Sum256(body)] = true
	}
	if len(sums) != 1 {
		t.Error("two builds of the same packages differ")
	}
}

// sharedPackages is an empty cache but for the packages that were downloaded before.
func sharedPackages(t *testing.T) string {
	t.Helper()
	var shared string
	if dir, err := CacheDir(); err != nil {
		t.Fatal(err)
	} else {
		shared = dir + "/archives"
	}
	cache := t.TempDir()
	if err := os.MkdirAll(cache+"/micro/debimage", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(shared, cache+"/micro/debimage/archives"); err != nil {
		t.Fatal(err)
	}
	return cache
}

func open(t *testing.T, preset string) tree {
	t.Helper()
	recipe, ok := Preset(preset)
	if !ok {
		t.Fatalf("no preset %s", preset)
	}
	image, err := Build(t.Context(), recipe, false)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	return entries(t, file)
}

// layer returns what the manifest.json of an archive names as its only layer.
func layer(t *testing.T, archive tree) tree {
	t.Helper()
	var manifests []struct{ Layers []string }
	if err := json.Unmarshal(archive["manifest.json"].body, &manifests); err != nil {
		t.Fatal(err)
	}
	return entries(t, bytes.NewReader(archive[manifests[0].Layers[0]].body))
}

// entries reads a tar as it is, unlike readTree, which moves what Debian has under old names.
func entries(t *testing.T, r io.Reader) tree {
	t.Helper()
	all, archive := tree{}, tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(header.Name, "/")] = &entry{*header, body}
	}
}
