package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/manifest"
	"github.com/protoduction/micro/cloud/source"
)

// pushing is a push as the folder and the flags have it.
type pushing struct {
	app     cloud.AppRef
	dir     string // to build
	archive string // to import
	draft   api.PushRequest

	services []manifest.NewService // to create where they are missing
}

// content is what a push uploads; write is nil where that is nothing.
type content struct {
	// list writes what the folder has; nil where no folder is uploaded.
	list func(w io.Writer) error
	// write writes the files that are missing on the node, or all where missing is nil.
	write func(w io.Writer, missing []string) error
	close func()
}

// open finds what will be sent, and adds to the draft what the other side must know of it.
func (p *pushing) open(ctx context.Context) (content, error) {
	none := content{close: func() {}}
	switch {
	case p.draft.Archive:
		f, err := openArchive(p.archive)
		if err != nil {
			return none, err
		}
		return content{
			write: func(w io.Writer, _ []string) error { _, err := io.Copy(w, f); return err },
			close: func() { f.Close() },
		}, nil
	case p.draft.Source == nil:
		return none, nil
	}
	dockerfile, err := p.dockerfile()
	if err != nil {
		return none, err
	}
	p.draft.Source.Dockerfile = dockerfile
	set, err := source.Open(p.dir, dockerfile)
	if err != nil {
		return none, err
	}
	p.draft.Source.Created = stamp(ctx, p.dir, set).UTC()
	p.draft.Source.Apart = append([]string{}, set.Apart...)
	return content{
		list: func(w io.Writer) error {
			known := openDigests(p.dir)
			known.fill(set)
			if err := set.WriteList(ctx, w); err != nil {
				return err
			}
			known.save(set)
			return nil
		},
		write: func(w io.Writer, missing []string) error {
			send := func(source.Entry) bool { return true }
			if missing != nil {
				wanted := make(map[string]bool, len(missing))
				for _, path := range missing {
					wanted[path] = true
				}
				send = func(e source.Entry) bool { return wanted[e.Path] }
			}
			return set.WriteTar(ctx, w, send, func(int64) {})
		},
		close: func() { set.Close() },
	}, nil
}

// dockerfiles are the names that builders look for where none is said; Containerfile is podman's.
var dockerfiles = []string{"Dockerfile", "Containerfile", "dockerfile"}

// dockerfile is the file to build with, seen from the folder: the one that the manifest names, or the
// first that is there.
func (p *pushing) dockerfile() (string, error) {
	names := dockerfiles
	if name := p.draft.Source.Dockerfile; name != "" {
		names = []string{name}
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(p.dir, name)); err == nil {
			return name, nil
		}
	}
	return "", cloud.Errorf(cloud.Invalid, "%s has no %s to build with", p.dir, names[0]).
		WithHint("write one, or push an image: micro push --image REFERENCE")
}

// sourceLabels says in an image which commit it was made from, where the folder is in git's hands.
func sourceLabels(dir string) map[string]string {
	labels := map[string]string{}
	git := func(args ...string) string {
		var out bytes.Buffer
		cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
		cmd.Stdout = &out
		if cmd.Run() != nil {
			return "" // no git, or no repository: nothing to say
		}
		return strings.TrimSpace(out.String())
	}
	if rev := git("rev-parse", "HEAD"); rev != "" {
		if git("status", "--porcelain", "--", ".") != "" {
			rev += "-dirty"
		}
		labels["org.opencontainers.image.revision"] = rev
	}
	if url := git("remote", "get-url", "origin"); url != "" && !strings.Contains(url, "@") {
		labels["org.opencontainers.image.source"] = url
	}
	return labels
}
