package source

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/protoduction/micro/cloud"
)

// Bounds of one name. Linux allows as much; the depth bounds what walking a path costs.
const (
	maxPath  = 4095
	maxName  = 255
	maxDepth = 200
)

// Unpack writes a tar stream, plain or packed with gzip or zstd, below dir, which must be empty or not
// be there. Folders, files, and links that stay below dir are accepted, each name once; permission bits
// are kept, owners are not, and times become those that a layer of an image has: whole seconds, and for a
// folder that of the newest file in it. All else is an error of code Invalid that names the entry, and a
// cut stream too. After any error dir is as it was. It returns what it wrote, with the files' digests, in
// the order of a walk.
func Unpack(ctx context.Context, r io.Reader, dir string, limits Limits) (entries []Entry, err error) {
	made, err := emptyFolder(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "unpack: %w", err)
	}
	defer root.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, wipe(root, dir, made))
		}
	}()
	limits = limits.withDefaults()
	s, err := newStream(reader{ctx, r}, limits.ratio)
	if err != nil {
		return nil, err
	}
	defer s.close()
	u := &unpacker{root: root, limits: limits, stream: s, seen: map[string]kind{".": implied}, writers: newWriters(root)}
	err = u.entries(ctx)
	// Files may still be written: nothing may be, once the folder is finished or removed.
	if werr := u.writers.finish(); err == nil {
		err = werr
	}
	if err != nil {
		return nil, err
	}
	entries = u.list()
	return entries, finishTree(root, entries)
}

// emptyFolder makes the folder, or finds it empty.
func emptyFolder(dir string) (made bool, err error) {
	err = os.Mkdir(dir, 0o700)
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return false, cloud.Errorf(cloud.Internal, "unpack: %w", err)
	}
	items, err := os.ReadDir(dir)
	if err != nil {
		return false, cloud.Errorf(cloud.Internal, "unpack: %w", err)
	}
	if len(items) > 0 {
		return false, cloud.Errorf(cloud.Conflict, "unpack: folder %s is not empty", dir)
	}
	return false, nil
}

// wipe takes away what was unpacked. Folders may have become read-only for their owner by then.
func wipe(root *os.Root, dir string, made bool) error {
	_ = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = root.Chmod(p, 0o700)
		}
		return nil
	})
	if made {
		return os.RemoveAll(dir)
	}
	items, err := fs.ReadDir(root.FS(), ".")
	for _, item := range items {
		err = errors.Join(err, root.RemoveAll(item.Name()))
	}
	return err
}

// kind is what stands at a path.
type kind int

const (
	implied kind = iota + 1 // a folder that only the names in it speak of
	folder
	file
	link
)

type unpacker struct {
	root    *os.Root
	limits  Limits
	stream  *stream
	seen    map[string]kind
	bytes   int64
	folders []*tar.Header // with clean names, to be finished at the end
	links   []*tar.Header
	writers *writers
	same    map[string]string // hard links, and the file that each is another name of
}

func (u *unpacker) entries(ctx context.Context) error {
	tr := tar.NewReader(u.stream)
	last := ""
	for n := 0; ; n++ {
		h, err := tr.Next()
		switch {
		case errors.Is(err, io.EOF) && u.stream.ended:
			return cut(last)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return broken(ctx, err, last)
		case n == u.limits.Entries:
			return cloud.Errorf(cloud.Invalid, "the archive has more than %d entries", u.limits.Entries)
		}
		last = h.Name
		if err := u.entry(ctx, h, tr); err != nil {
			return err
		}
	}
}

func cut(last string) error {
	if last == "" {
		return cloud.Errorf(cloud.Invalid, "the archive ends before its first entry")
	}
	return cloud.Errorf(cloud.Invalid, "the archive ends in the middle, at %s", show(last))
}

// broken tells an archive that is no good from a connection that is gone.
func broken(ctx context.Context, err error, last string) error {
	var known *cloud.Error
	switch {
	case ctx.Err() != nil:
		return cloud.Errorf(cloud.Interrupted, "unpack: %w", ctx.Err())
	case errors.As(err, &known):
		return known
	case errors.Is(err, io.ErrUnexpectedEOF):
		return cut(last)
	case last == "":
		return cloud.Errorf(cloud.Invalid, "not an archive: %w", err)
	}
	return cloud.Errorf(cloud.Invalid, "the archive is broken behind %s: %w", show(last), err)
}

func show(name string) string {
	const most = 100
	if len(name) > most {
		for name = name[:most]; len(name) > most-utf8.UTFMax && !utf8.ValidString(name); {
			name = name[:len(name)-1] // the beginning of a character
		}
		name += "…"
	}
	return fmt.Sprintf("%q", name)
}

func (u *unpacker) entry(ctx context.Context, h *tar.Header, content io.Reader) error {
	refuse := func(format string, args ...any) error {
		return cloud.Errorf(cloud.Invalid, "entry %s %s", show(h.Name), fmt.Sprintf(format, args...))
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // git archive's, about the archive as a whole
	}
	name, why := cleanName(h.Name)
	if why != "" {
		return refuse("%s", why)
	}
	if name == "." && h.Typeflag == tar.TypeDir {
		return nil // the folder itself, whose bits are not the archive's to choose
	}
	if h.Mode&0o7000 != 0 {
		return refuse("has set-user-ID, set-group-ID or sticky bits")
	}
	if why := u.place(name, h); why != "" {
		return refuse("%s", why)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.folder(name, h)
	case tar.TypeReg:
		if isSparse(h) {
			return refuse("is a sparse file")
		}
		if u.bytes += h.Size; h.Size < 0 || u.bytes > u.limits.Bytes || u.bytes < 0 {
			return refuse("takes the archive beyond %s", cloud.FormatSize(u.limits.Bytes))
		}
		return u.file(ctx, name, h, content)
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > maxPath || strings.ContainsRune(h.Linkname, 0) {
			return refuse("is a link to nothing or to too long a name")
		}
		if !utf8.ValidString(h.Linkname) {
			return refuse("is a link to %s, which is not UTF-8", show(h.Linkname))
		}
		if path.IsAbs(h.Linkname) || !within(path.Dir(name), h.Linkname) {
			return refuse("is a link out of the folder, to %s", show(h.Linkname))
		}
		clean := *h
		clean.Name = name
		u.links = append(u.links, &clean)
		return internal(h, u.root.Symlink(h.Linkname, name))
	case tar.TypeLink:
		target, why := cleanName(h.Linkname)
		if why != "" {
			return refuse("is a hard link to %s, which %s", show(h.Linkname), why)
		}
		// Only to what this archive has brought, and never through a symbolic link.
		if u.seen[target] != file || target == name {
			return refuse("is a hard link to %s, which is no file before it", show(h.Linkname))
		}
		if err := u.writers.wait(); err != nil { // the file may not be there yet
			return err
		}
		if u.same == nil {
			u.same = map[string]string{}
		}
		u.same[name] = target
		return internal(h, u.root.Link(target, name))
	}
	return refuse("is a device, FIFO or something else that is no file (type %q)", h.Typeflag)
}

// cleanName is the path below the folder that a name means, or why it means none.
func cleanName(name string) (clean, why string) {
	if name == "" || strings.ContainsRune(name, 0) {
		return "", "has no name, or one with a NUL byte"
	}
	if len(name) > maxPath {
		return "", fmt.Sprintf("has a name of more than %d bytes", maxPath)
	}
	if path.IsAbs(name) {
		return "", "has an absolute name"
	}
	if !utf8.ValidString(name) {
		return "", "has a name that is not UTF-8"
	}
	for step := range strings.SplitSeq(name, "/") {
		if step == ".." {
			return "", "has .. in its name"
		}
		if len(step) > maxName {
			return "", fmt.Sprintf("has a part of more than %d bytes in its name", maxName)
		}
	}
	clean = path.Clean(name)
	if strings.Count(clean, "/") > maxDepth {
		return "", fmt.Sprintf("lies more than %d folders deep", maxDepth)
	}
	return clean, ""
}

// place notes what stands at the name, and makes the folders on the way. A way through anything but a
// folder is refused, also through a link that stays inside: no honest archive has it.
func (u *unpacker) place(name string, h *tar.Header) (why string) {
	what := map[byte]kind{tar.TypeDir: folder, tar.TypeReg: file, tar.TypeLink: file}[h.Typeflag]
	if what == 0 {
		what = link // and what is no link is refused
	}
	switch before := u.seen[name]; {
	case before == implied && what == folder:
	case before != 0:
		return "is there twice"
	}
	for i, c := range name {
		if c != '/' {
			continue
		}
		switch parent := name[:i]; u.seen[parent] {
		case implied, folder:
		case file, link:
			return fmt.Sprintf("lies below %s, which is no folder", show(parent))
		default:
			if err := u.root.Mkdir(parent, 0o755); err != nil {
				return fmt.Sprintf("cannot be made: %v", err)
			}
			u.seen[parent] = implied
		}
	}
	u.seen[name] = what
	return ""
}

func isSparse(h *tar.Header) bool {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

func (u *unpacker) folder(name string, h *tar.Header) error {
	if err := u.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return internal(h, err)
	}
	clean := *h
	clean.Name = name
	u.folders = append(u.folders, &clean)
	return nil
}

func (u *unpacker) file(ctx context.Context, name string, h *tar.Header, content io.Reader) error {
	f := &written{name: name, mode: fs.FileMode(h.Mode) & fs.ModePerm, modified: wholeSeconds(h.ModTime), size: h.Size}
	if h.Size > maxBuffered {
		return u.writers.write(ctx, f, content)
	}
	f.content = u.writers.buffer(int(h.Size))
	if _, err := io.ReadFull(content, f.content); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return cut(name)
		}
		return broken(ctx, err, name)
	}
	return u.writers.add(f)
}

// list returns what was unpacked.
func (u *unpacker) list() []Entry {
	entries := make([]Entry, 0, len(u.seen))
	files := make(map[string]Entry, len(u.writers.done))
	for _, f := range u.writers.done {
		e := Entry{Path: f.name, Mode: f.mode, Size: f.size, ModTime: f.modified, SHA256: f.sum}
		files[f.name] = e
		entries = append(entries, e)
	}
	for name, target := range u.same {
		for u.same[target] != "" {
			target = u.same[target]
		}
		e := files[target]
		e.Path = name
		entries = append(entries, e)
	}
	for _, h := range u.links {
		entries = append(entries, Entry{Path: h.Name, Mode: fs.ModeSymlink | 0o777, Link: h.Linkname, ModTime: wholeSeconds(h.ModTime)})
	}
	for _, h := range u.folders {
		entries = append(entries, Entry{Path: h.Name, Mode: fs.ModeDir | fs.FileMode(h.Mode)&fs.ModePerm, ModTime: wholeSeconds(h.ModTime)})
	}
	for name, kind := range u.seen {
		if kind == implied && name != "." {
			entries = append(entries, Entry{Path: name, Mode: fs.ModeDir | 0o755})
		}
	}
	walkOrder(entries)
	return entries
}

// internal is a failure that the archive is not to blame for.
func internal(h *tar.Header, err error) error { return unpackError(h.Name, err) }

func unpackError(name string, err error) error {
	if err == nil {
		return nil
	}
	return cloud.Errorf(cloud.Unavailable, "unpack %s: %w", show(name), err)
}
