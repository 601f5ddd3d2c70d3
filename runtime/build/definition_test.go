package build_test

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Who sends a folder says what COPY must not see: no second reader of ignore files has another opinion.
// Without a word of it, the file beside the Dockerfile counts, else .dockerignore.
func TestApart(t *testing.T) {
	r := newRig(t, nil)
	for _, tt := range []struct {
		name, dockerfile string
		apart            []string
		test             string
	}{
		{"nothing", "Dockerfile", []string{}, "test -e /src/web/x && test -e /src/worker/x && test -e /src/Dockerfile && test -e /src/.dockerignore"},
		{"odd names", "Dockerfile", []string{"Dockerfile", "web/*[x]?\\", "!no", "#no"},
			`test ! -e /src/Dockerfile && test -e /src/web/x && test ! -e /src/web/*[x]?\ && test ! -e /src/!no && test ! -e /src/#no`},
		{"none said", "Dockerfile", nil, "test ! -e /src/worker && test -e /src/web/x"},
		{"none said, a file beside", "w.Dockerfile", nil, "test ! -e /src/web && test -e /src/worker/x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := r.source(t, map[string]string{
				tt.dockerfile: "# escape=`\n" + base + "COPY . /src\nRUN " + tt.test + "\n", "web/x": "", "worker/x": "", "web/*[x]?\\": "", "!no": "", "#no": "",
				".dockerignore": "worker\n", "w.Dockerfile.dockerignore": "web\n",
			})
			if _, err := r.Build(t.Context(), runtime.Build{Name: "t", Source: src, Dockerfile: tt.dockerfile, Apart: tt.apart}); err != nil {
				t.Error(err)
			}
		})
	}
}

//go:embed testdata/a.tar.xz
var xzArchive string

// ADD unpacks what it is given without a program of the machine's.
func TestAddWithoutTools(t *testing.T) {
	r := newRig(t, nil)
	t.Setenv("PATH", "/nonexistent") // of the process that builds, which starts now
	if _, log, err := r.build(t, base+"ADD a.tar.xz /\nRUN cat /opt/x/hello\n", "a.tar.xz", xzArchive); err != nil || !strings.Contains(log, "hello from xz") {
		t.Error(err, log)
	}
	// A repository that cannot be reached is one that was asked for, by the process itself.
	_, _, err := r.build(t, base+"ADD https://git.invalid/x/y.git /src\n")
	wantError(t, err, cloud.DeployFailed, "repository https://git.invalid/x/y.git", "git.invalid")
}

// A Dockerfile may be a link, and one that points outside the folder is not read.
func TestDockerfileIsALink(t *testing.T) {
	r := newRig(t, nil)
	src := r.source(t, map[string]string{"docker/file": base + "COPY . /src\nRUN test ! -e /src/docker\n"})
	if err := os.Symlink("docker/file", filepath.Join(src, "Dockerfile")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Build(t.Context(), runtime.Build{Name: "t", Source: src, Apart: []string{"docker/file", "docker"}}); err != nil {
		t.Error(err)
	}
	outside := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(outside, []byte(base), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(src, "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Build(t.Context(), runtime.Build{Name: "t", Source: src, Dockerfile: "out"}); err == nil {
		t.Error("a file outside was read")
	}
}
