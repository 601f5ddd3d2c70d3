package child

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/protoduction/micro/runtime/build"
)

// definition is a temporary folder with the files that define a build: the Dockerfile, with links resolved, and the ignore
// file.
type definition struct {
	dir        string
	dockerfile []byte
}

// maxDefinition is the largest size of each file in bytes; BuildKit itself reads no more.
const maxDefinition = 16 << 20

func newDefinition(r build.Request) (_ *definition, err error) {
	source, err := os.OpenRoot(r.Source)
	if err != nil {
		return nil, fmt.Errorf("open the source folder: %w", err)
	}
	defer source.Close()
	d := &definition{}
	if d.dockerfile, err = readDefinition(source, r.Dockerfile); err != nil {
		return nil, fmt.Errorf("read the Dockerfile: %w", err)
	}
	ignore := []byte(excludes(r.Apart))
	if r.Apart == nil {
		ignore, err = readDefinition(source, r.Dockerfile+".dockerignore")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the ignore file: %w", err)
		}
	}
	if d.dir, err = os.MkdirTemp("", "definition"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	at := filepath.Join(d.dir, r.Dockerfile)
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(at, d.dockerfile, 0o600); err != nil || ignore == nil {
		return d, err
	}
	return d, os.WriteFile(at+".dockerignore", ignore, 0o600)
}

func (d *definition) close() error { return os.RemoveAll(d.dir) }

func readDefinition(source *os.Root, name string) ([]byte, error) {
	f, err := source.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDefinition+1))
	if err == nil && len(data) > maxDefinition {
		err = fmt.Errorf("%s has more than %d MiB", name, maxDefinition>>20)
	}
	return data, err
}

// excludes returns a .dockerignore with the paths. Without paths it is a comment: an existing file keeps BuildKit from
// looking for another one.
func excludes(paths []string) string {
	var b strings.Builder
	b.WriteString("# what is sent for the build alone\n")
	escape := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `!`, `\!`)
	for _, p := range paths {
		fmt.Fprintf(&b, "/%s\n", escape.Replace(p))
	}
	return b.String()
}
