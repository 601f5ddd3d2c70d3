package cli

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// A folder is built with the file that its manifest names, else with the one that builders look for.
func TestDockerfileOfAFolder(t *testing.T) {
	for _, c := range []struct{ there, said, want string }{ // want is "" where the folder is refused
		{"Dockerfile", "", "Dockerfile"},
		{"Containerfile", "", "Containerfile"},
		{"dockerfile", "", "dockerfile"},
		{"dockerfile Containerfile Dockerfile", "", "Dockerfile"},
		{"dockerfile Containerfile", "", "Containerfile"},
		{"Dockerfile docker/app", "docker/app", "docker/app"},
		{"", "", ""},
		{"Containerfile", "Dockerfile", ""},
	} {
		dir := t.TempDir()
		for name := range strings.FieldsSeq(c.there) {
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("FROM scratch\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// What is sent has the file even where it is ignored, and the request names it.
		if err := os.WriteFile(filepath.Join(dir, ".dockerignore"), []byte("**\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		p := &pushing{dir: dir, draft: api.PushRequest{Source: &api.Source{Dockerfile: c.said}}}
		content, err := p.open(t.Context())
		if c.want == "" {
			if err == nil || !strings.Contains(err.Error(), "has no Dockerfile to build with") || cloud.CodeOf(err) != cloud.Invalid || cloud.HintOf(err) == "" {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		var tarball bytes.Buffer
		if err := content.write(&tarball, nil); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		content.close()
		sent := ""
		for r := tar.NewReader(&tarball); ; {
			h, err := r.Next()
			if err != nil {
				break
			}
			sent += h.Name + " "
		}
		if p.draft.Source.Dockerfile != c.want || !strings.Contains(" "+sent, " "+c.want+" ") {
			t.Errorf("%+v: built with %q, sent %s", c, p.draft.Source.Dockerfile, sent)
		}
	}
}
