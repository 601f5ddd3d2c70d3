package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/protoduction/micro/testdata/apps"
)

const (
	manyFolders, manyPerFolder = 600, 100 // 60,000 files
	// copies is how often the node has each file: as uploaded, as a build's source, as a step's result and unpacked.
	copies = 4
)

// manyFiles measures pushes of a folder with 60,000 small files and the prune after them, and beside that how long
// the file system takes to copy the same files and to delete as many.
func manyFiles(ctx context.Context, program string, _ int) (figures []figure, err error) {
	n, _, err := startNode(ctx, program)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	folder := filepath.Join(n.dir, "files")
	if err := writeFiles(ctx, folder); err != nil {
		return nil, err
	}
	push := func() error {
		_, err := n.micro(ctx, "push", folder, "--app", "files")
		return err
	}
	first, err := timeOf(push)
	if err != nil {
		return nil, err
	}
	unchanged, err := timeOf(push)
	if err != nil {
		return nil, err
	}
	copied, err := timeOf(func() error { return os.CopyFS(filepath.Join(n.dir, "copy0"), os.DirFS(folder)) })
	if err != nil {
		return nil, err
	}
	for i := 1; i < copies; i++ {
		if err := os.CopyFS(filepath.Join(n.dir, fmt.Sprintf("copy%d", i)), os.DirFS(folder)); err != nil {
			return nil, err
		}
	}
	if _, err := n.micro(ctx, "delete", "files", "--yes"); err != nil {
		return nil, err
	}
	pruned, err := timeOf(func() error {
		_, err := n.micro(ctx, "prune")
		return err
	})
	if err != nil {
		return nil, err
	}
	removed, err := timeOf(func() (err error) {
		for i := range copies {
			err = errors.Join(err, os.RemoveAll(filepath.Join(n.dir, fmt.Sprintf("copy%d", i))))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return []figure{
		timeFigure("first push of 60,000 small files", []time.Duration{first}, 15*time.Second),
		ratioFigure("the same: ratio to one copy of the files", []time.Duration{first}, []time.Duration{copied}),
		timeFigure("push of 60,000 unchanged files", []time.Duration{unchanged}, 3*time.Second),
		ratioFigure(fmt.Sprintf("prune of all that: ratio to deleting %d copies of the files", copies), []time.Duration{pruned}, []time.Duration{removed}),
	}, nil
}

func timeOf(f func() error) (time.Duration, error) {
	begin := time.Now()
	err := f()
	return time.Since(begin), err
}

// writeFiles writes an app of 60,000 files of 0.2 to 6 KB, with the same content in each run.
func writeFiles(ctx context.Context, folder string) error {
	if err := apps.CopyTo(ctx, folder, "hello-go"); err != nil {
		return err
	}
	dockerfile := "FROM scratch\nCOPY f /f\nCOPY hello /hello\nCMD [\"/hello\"]\n"
	if err := os.WriteFile(filepath.Join(folder, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		return err
	}
	random := rand.NewChaCha8([32]byte{1})
	sizes := rand.New(random)
	content := make([]byte, 6000)
	for d := range manyFolders {
		dir := filepath.Join(folder, "f", fmt.Sprint(d))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for i := range manyPerFolder {
			size := 200 + sizes.IntN(len(content)-200)
			_, _ = random.Read(content[:size])
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), content[:size], 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}
