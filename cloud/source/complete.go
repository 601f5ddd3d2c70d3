package source

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/protoduction/micro/cloud"
)

// Kept is a folder that was written before, and that nobody changes.
type Kept struct {
	Dir     string
	Entries []Entry // all that is in it
}

// content is what two files must have in common for one to stand in for the other.
type content struct {
	sum  string
	mode fs.FileMode
}

// Missing returns the paths of the files of a list that the kept folder has no file for.
func (k Kept) Missing(list []Entry) []string {
	have := map[content]bool{}
	for _, e := range k.Entries {
		if e.Mode.IsRegular() {
			have[content{e.SHA256, e.Mode}] = true
		}
	}
	missing := []string{}
	for _, e := range list {
		if e.Mode.IsRegular() && !have[content{e.SHA256, e.Mode}] {
			missing = append(missing, e.Path)
		}
	}
	return missing
}

// Complete adds to dir what a list names beyond what was sent there: folders, links, and files that the kept
// folder has. Files are shared with the kept folder, so that nothing is copied. It returns all that dir has
// then, in the order of a walk. An error of code Invalid names a file that was neither sent nor kept.
func (k Kept) Complete(dir string, sent, list []Entry) ([]Entry, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "complete a folder: %w", err)
	}
	defer root.Close()
	came := make(map[string]Entry, len(sent))
	for _, e := range sent {
		came[e.Path] = e
	}
	c := &completion{kept: k, dir: dir, root: root, byPath: map[string]Entry{}, byContent: map[content][]string{}, used: map[string]bool{}}
	for _, e := range k.Entries {
		if e.Mode.IsRegular() {
			c.byPath[e.Path] = e
			c.byContent[content{e.SHA256, e.Mode}] = append(c.byContent[content{e.SHA256, e.Mode}], e.Path)
		}
	}
	all := slices.Clone(sent)
	for _, e := range list {
		if have, ok := came[e.Path]; ok {
			// What is below a folder of the list is written there, and must not come to lie elsewhere.
			if have.Mode.Type() != e.Mode.Type() {
				return nil, cloud.Errorf(cloud.Invalid, "entry %s was listed as something else than was sent", show(e.Path)).WithHint("push again")
			}
			continue
		}
		if err := c.add(e); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	walkOrder(all)
	if err := checkTree(all); err != nil {
		return nil, err
	}
	return all, finishTree(root, all)
}

type completion struct {
	kept      Kept
	dir       string
	root      *os.Root
	byPath    map[string]Entry
	byContent map[content][]string
	used      map[string]bool // kept files that have a second name by now
}

func (c *completion) add(e Entry) error {
	switch {
	case e.Mode.IsDir():
		return unpackError(e.Path, c.root.Mkdir(e.Path, 0o700))
	case e.Link != "":
		return unpackError(e.Path, c.root.Symlink(e.Link, e.Path))
	}
	from := c.find(e)
	if from == "" {
		return cloud.Errorf(cloud.Invalid, "file %s was listed but not sent", show(e.Path)).WithHint("push again")
	}
	// Two names of one file would become hard links in an image, and have one time: the second one gets a copy,
	// and so does a file that has another time now.
	if !c.used[from] && c.byPath[from].ModTime.Equal(e.ModTime) {
		c.used[from] = true
		// All folders on the way are real ones, in both trees.
		err := os.Link(filepath.Join(c.kept.Dir, from), filepath.Join(c.dir, e.Path))
		if !errors.Is(err, syscall.EXDEV) && !errors.Is(err, syscall.EMLINK) {
			return unpackError(e.Path, err)
		}
	}
	return unpackError(e.Path, c.copy(from, e))
}

// find returns the kept file for an entry, one that was not used where possible, or "".
func (c *completion) find(e Entry) string {
	if same, ok := c.byPath[e.Path]; ok && same.SHA256 == e.SHA256 && same.Mode == e.Mode && !c.used[e.Path] {
		return e.Path
	}
	same := content{e.SHA256, e.Mode}
	paths := c.byContent[same]
	for len(paths) > 1 && c.used[paths[0]] {
		paths = paths[1:]
	}
	c.byContent[same] = paths
	if len(paths) == 0 {
		return ""
	}
	return paths[0]
}

func (c *completion) copy(from string, e Entry) error {
	in, err := os.Open(filepath.Join(c.kept.Dir, from))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := c.root.OpenFile(e.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return finishFile(c.root, e.Path, out, &written{mode: e.Mode.Perm(), modified: e.ModTime})
}
