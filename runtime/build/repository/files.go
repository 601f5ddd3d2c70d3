package repository

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Write writes the files of a folder of a commit, "" for all, into an empty folder, with the commit's time. Submodules are
// an error unless they are to be left out.
func Write(c *object.Commit, folder, dir string, skipSubmodules bool) error {
	tree, err := c.Tree()
	if err == nil && path.Clean("/"+folder) != "/" {
		tree, err = tree.Tree(path.Clean("/" + folder)[1:])
	}
	if err != nil {
		return fmt.Errorf("folder %q of the repository: %w", folder, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	at := c.Committer.When.Truncate(time.Second)
	links := map[string]string{} // created last, so that no file is written through a link
	walker := object.NewTreeWalker(tree, true, nil)
	defer walker.Close()
	for {
		name, entry, err := walker.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch entry.Mode {
		case filemode.Dir:
			err = root.MkdirAll(name, 0o755)
		case filemode.Submodule:
			if !skipSubmodules {
				return fmt.Errorf("%s is a submodule, which is not supported: leave submodules out with ?submodules=false", name)
			}
		default:
			err = writeFile(root, tree, name, entry, at, links)
		}
		if err != nil {
			return fmt.Errorf("write %s of the repository: %w", name, err)
		}
	}
	for name, target := range links {
		if err := root.Symlink(target, name); err != nil {
			return fmt.Errorf("write %s of the repository: %w", name, err)
		}
	}
	return nil
}

func writeFile(root *os.Root, tree *object.Tree, name string, entry object.TreeEntry, at time.Time, links map[string]string) error {
	file, err := tree.TreeEntryFile(&entry)
	if err != nil {
		return err
	}
	in, err := file.Reader()
	if err != nil {
		return err
	}
	defer in.Close()
	if entry.Mode == filemode.Symlink {
		target, err := io.ReadAll(io.LimitReader(in, 4096))
		links[name] = string(target)
		return err
	}
	mode := fs.FileMode(0o644)
	if entry.Mode == filemode.Executable {
		mode = 0o755
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Chmod(mode), out.Close()); err != nil {
		return err
	}
	return root.Chtimes(name, at, at)
}
