package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Entry is a file, folder or symbolic link that is sent.
type Entry struct {
	Path    string      `json:"path"` // in the folder, with slashes
	Mode    fs.FileMode `json:"mode"` // type and permission bits
	Size    int64       `json:"size"` // of a file
	Link    string      `json:"link,omitempty"`
	ModTime time.Time   `json:"mod_time"`
	SHA256  string      `json:"sha256,omitempty"` // of a file, in hex, once hashed
}

// Set is what is sent of a folder.
type Set struct {
	Entries []Entry // sorted, folders before what is in them
	Ignore  string  // the ignore file in use, "" for none
	root    *os.Root
}

// always are left out at every level, by custom.
var always = []string{".git", ".svn", ".hg", ".DS_Store"}

// maxFaults bounds the list of files that cannot be sent.
const maxFaults = 20

// Open lists what is sent of a folder: all but what its ignore file names. The paths in keep are sent in
// any case; without any it is Dockerfile, which is often ignored and always needed. An error names all
// that cannot be sent: what cannot be read, devices, sockets, FIFOs and links that lead out of the folder.
// The caller closes the set.
func Open(dir string, keep ...string) (*Set, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		code := cloud.Invalid
		if errors.Is(err, fs.ErrNotExist) {
			code = cloud.NotFound
		}
		return nil, cloud.Errorf(code, "folder %q: %w", dir, err)
	}
	if len(keep) == 0 {
		keep = []string{"Dockerfile"}
	}
	w := &walk{set: &Set{root: root}, added: map[string]bool{}}
	for _, k := range keep {
		w.keep = append(w.keep, path.Clean(k))
	}
	if w.rules, w.set.Ignore, err = readRules(root); err == nil {
		w.folder(".", false)
		err = w.err()
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return w.set, nil
}

// Close gives the folder up.
func (s *Set) Close() error { return s.root.Close() }

// Bytes is the sum of the files' sizes.
func (s *Set) Bytes() int64 {
	var n int64
	for _, e := range s.Entries {
		n += e.Size
	}
	return n
}

// rules say what is ignored.
type rules interface {
	// enter is told of every folder before what is in it; it may read more rules there.
	enter(root *os.Root, dir string) error
	// ignored says whether the path is left out, and, where it is a folder, whether something below may
	// be sent all the same. within says that the folder it is in is left out.
	ignored(p string, isDir, within bool) (out, lookInside bool)
}

type walk struct {
	set    *Set
	rules  rules
	keep   []string
	added  map[string]bool // folders
	faults []error
	more   int // faults beyond maxFaults
}

func (w *walk) fault(err error) {
	if len(w.faults) == maxFaults {
		w.more++
		return
	}
	w.faults = append(w.faults, cloud.Errorf(cloud.Invalid, "%v", err))
}

func (w *walk) err() error {
	if len(w.faults) == 0 {
		return nil
	}
	if w.more > 0 {
		w.faults = append(w.faults, cloud.Errorf(cloud.Invalid, "and %d more", w.more))
	}
	return cloud.Errorf(cloud.Invalid, "%w", errors.Join(w.faults...)).WithHint("leave them out with a line each in .microignore")
}

// folder adds what is in dir. out says that the folder itself is left out: it is added with the first
// thing in it that is not.
func (w *walk) folder(dir string, out bool) {
	if err := w.rules.enter(w.set.root, dir); err != nil {
		w.fault(err)
	}
	items, err := fs.ReadDir(w.set.root.FS(), dir) // sorted by name
	if err != nil {
		w.fault(err)
		return
	}
	for _, item := range items {
		if slices.Contains(always, item.Name()) {
			continue
		}
		p := path.Join(dir, item.Name())
		ignored, look := w.rules.ignored(p, item.IsDir(), out)
		ignored = ignored && !slices.Contains(w.keep, p)
		if ignored {
			if item.IsDir() && (look || w.keepsBelow(p)) {
				w.folder(p, true)
			}
			continue
		}
		w.parents(dir)
		w.add(p)
		if item.IsDir() {
			w.folder(p, false)
		}
	}
}

func (w *walk) keepsBelow(dir string) bool {
	return slices.ContainsFunc(w.keep, func(k string) bool { return strings.HasPrefix(k, dir+"/") })
}

// parents adds dir and the folders on the way to it where they are not there yet.
func (w *walk) parents(dir string) {
	if dir == "." || w.added[dir] {
		return
	}
	w.parents(path.Dir(dir))
	w.add(dir)
}

func (w *walk) add(p string) {
	info, err := w.set.root.Lstat(p)
	if err != nil {
		w.fault(err)
		return
	}
	e := Entry{Path: p, Mode: info.Mode() & (fs.ModeType | fs.ModePerm), ModTime: info.ModTime()}
	switch e.Mode.Type() {
	case 0:
		e.Size = info.Size()
	case fs.ModeDir:
		w.added[p] = true
	case fs.ModeSymlink:
		if e.Link, err = w.set.root.Readlink(p); err == nil {
			err = checkLink(w.set.root, p, e.Link)
		}
	case fs.ModeSocket:
		err = fmt.Errorf("%s is a socket", show(p))
	case fs.ModeNamedPipe:
		err = fmt.Errorf("%s is a FIFO", show(p))
	default:
		err = fmt.Errorf("%s is a device", show(p))
	}
	if err != nil {
		w.fault(err)
		return
	}
	w.set.Entries = append(w.set.Entries, e)
}

// checkLink reports a link that leads out of the root. It may lead to nothing, or in a circle.
func checkLink(root *os.Root, p, target string) error {
	if path.IsAbs(target) || !within(path.Dir(p), target) {
		return cloud.Errorf(cloud.Invalid, "link %s leads out of the folder, to %s", show(p), show(target))
	}
	// Other links on the way may lead elsewhere than the text says: os.Root walks them one by one.
	_, err := root.Stat(p)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return cloud.Errorf(cloud.Invalid, "link %s leads out of the folder over other links, to %s", show(p), show(target))
}

// within says whether target, seen from dir, stays below the root at every step.
func within(dir, target string) bool {
	depth := 0
	if dir != "." {
		depth = strings.Count(dir, "/") + 1
	}
	for step := range strings.SplitSeq(target, "/") {
		switch step {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return false
			}
		default:
			depth++
		}
	}
	return true
}
