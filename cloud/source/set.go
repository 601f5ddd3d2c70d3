package source

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

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

	id identity // of a file that Open has found
}

// Set is what is sent of a folder.
type Set struct {
	Entries []Entry // sorted, folders before what is in them
	Ignore  string  // the ignore file in use, "" for none
	// Apart are paths that the ignore file leaves out, and that are sent because the build reads them. COPY
	// and ADD must not see them.
	Apart []string

	root *os.Root
}

// always are left out at every level, by custom.
var always = []string{".git", ".svn", ".hg", ".DS_Store"}

// maxFaults bounds the list of files that cannot be sent.
const maxFaults = 20

// Open lists what is sent of a folder: all but what its ignore file names. The Dockerfile, a path in the
// folder, is sent in any case, and so are the links on the way to it; "" is Dockerfile. An error names all
// that cannot be sent: what cannot be read, devices, sockets, FIFOs, links that lead out of the folder, and
// names that are not UTF-8. The caller closes the set.
func Open(dir, dockerfile string) (*Set, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		code := cloud.Invalid
		if errors.Is(err, fs.ErrNotExist) {
			code = cloud.NotFound
		}
		return nil, cloud.Errorf(code, "folder %q: %w", dir, err)
	}
	dockerfile = path.Clean(cmp.Or(dockerfile, "Dockerfile"))
	w := &walk{set: &Set{root: root}, keep: follow(root, dockerfile), added: map[string]bool{}}
	if w.rules, w.set.Ignore, err = readRules(root, dockerfile); err == nil {
		w.folder(root, ".", false)
		err = w.err()
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return w.set, nil
}

// follow returns the paths that are read on the way to a file: links, and where they lead in the end. It
// stops where a link leads out of the root, which the walk reports.
func follow(root *os.Root, p string) (read []string) {
	const most = 40 // links, as many as the kernel follows (path_resolution(7))
	done, rest := ".", strings.Split(p, "/")
	for len(rest) > 0 {
		done = path.Join(done, rest[0])
		rest = rest[1:]
		info, err := root.Lstat(done)
		if err != nil || info.Mode().Type() != fs.ModeSymlink {
			continue
		}
		read = append(read, done)
		target, err := root.Readlink(done)
		if err != nil || path.IsAbs(target) || !within(path.Dir(done), target) || len(read) > most {
			return read
		}
		done, rest = path.Dir(done), append(strings.Split(target, "/"), rest...)
	}
	return append(read, done)
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
	enter(folder *os.Root, dir string) error
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

// folder adds what is in dir, which root has open: paths of one step need no walk. out says that the folder
// itself is left out: it is added with the first thing in it that is not.
func (w *walk) folder(root *os.Root, dir string, out bool) {
	if err := w.rules.enter(root, dir); err != nil {
		w.fault(err)
	}
	items, err := fs.ReadDir(root.FS(), ".") // sorted by name
	if err != nil {
		w.fault(in(dir, err))
		return
	}
	for _, item := range items {
		if slices.Contains(always, item.Name()) {
			continue
		}
		p := path.Join(dir, item.Name())
		ignored, look := w.rules.ignored(p, item.IsDir(), out)
		if ignored && slices.Contains(w.keep, p) {
			w.set.Apart = append(w.set.Apart, p)
			ignored = false
		}
		if ignored {
			if item.IsDir() && (look || w.keepsBelow(p)) {
				w.below(root, item.Name(), p, true)
			}
			continue
		}
		w.parents(dir)
		w.add(root, item.Name(), p)
		if item.IsDir() {
			w.below(root, item.Name(), p, false)
		}
	}
}

// below adds what is in the folder name of root.
func (w *walk) below(root *os.Root, name, p string, out bool) {
	sub, err := root.OpenRoot(name)
	if err != nil {
		w.fault(in(path.Dir(p), err))
		return
	}
	defer sub.Close()
	w.folder(sub, p, out)
}

// in has an error name the path from the top, which it only knows from dir on.
func in(dir string, err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return fmt.Errorf("%s: %w", show(path.Join(dir, e.Path)), e.Err)
	}
	return err
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
	w.add(w.set.root, dir, dir)
}

// add adds what root has as name, and the whole folder as p.
func (w *walk) add(root *os.Root, name, p string) {
	info, err := root.Lstat(name)
	if err != nil {
		w.fault(in(strings.TrimSuffix(p, name), err))
		return
	}
	e := Entry{Path: p, Mode: info.Mode() & (fs.ModeType | fs.ModePerm), ModTime: info.ModTime()}
	switch e.Mode.Type() {
	case 0:
		e.Size, e.id = info.Size(), identityOf(info)
	case fs.ModeDir:
		w.added[p] = true
	case fs.ModeSymlink:
		if e.Link, err = root.Readlink(name); err == nil {
			err = checkLink(w.set.root, p, e.Link)
		}
	case fs.ModeSocket:
		err = fmt.Errorf("%s is a socket", show(p))
	case fs.ModeNamedPipe:
		err = fmt.Errorf("%s is a FIFO", show(p))
	default:
		err = fmt.Errorf("%s is a device", show(p))
	}
	switch {
	case err != nil:
	case !utf8.ValidString(p):
		err = fmt.Errorf("the name of %s is not UTF-8", show(p))
	case !utf8.ValidString(e.Link):
		err = fmt.Errorf("link %s points to a name that is not UTF-8, %s", show(p), show(e.Link))
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
		return cloud.Errorf(cloud.Invalid, "link %s points outside the folder, to %s", show(p), show(target))
	}
	// Other links on the way may lead elsewhere than the text says: os.Root walks them one by one.
	_, err := root.Stat(p)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return cloud.Errorf(cloud.Invalid, "link %s points outside the folder through other links, to %s", show(p), show(target))
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
