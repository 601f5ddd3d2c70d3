package source

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/protoduction/micro/cloud"
)

// line is an entry in a list: JSON, one line each.
type line struct {
	Path     string     `json:"path"`
	Mode     uint32     `json:"mode"` // permission bits
	Size     int64      `json:"size,omitempty"`
	Digest   string     `json:"digest,omitempty"` // "sha256:…", of a file
	Link     string     `json:"link,omitempty"`
	Dir      bool       `json:"dir,omitempty"`
	Modified *time.Time `json:"modified,omitempty"`
}

const digestPrefix = "sha256:"

// ListWriter writes entries as a list, which ReadList reads.
type ListWriter struct {
	w   *bufio.Writer
	enc *json.Encoder
}

// NewListWriter returns a ListWriter that writes to w. Flush must be called after the last entry.
func NewListWriter(w io.Writer) *ListWriter {
	buffered := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(buffered)
	enc.SetEscapeHTML(false)
	return &ListWriter{buffered, enc}
}

// Write adds an entry. A file must have its digest.
func (l *ListWriter) Write(e Entry) error {
	out := line{Path: e.Path, Mode: uint32(e.Mode.Perm()), Size: e.Size, Link: e.Link, Dir: e.Mode.IsDir()}
	if e.SHA256 != "" {
		out.Digest = digestPrefix + e.SHA256
	}
	if !e.ModTime.IsZero() {
		out.Modified = &e.ModTime
	}
	return l.enc.Encode(out)
}

// KeepAlive sends what was written, and an empty line, so that a reader who waits sees that more will come.
func (l *ListWriter) KeepAlive() error {
	if err := l.w.WriteByte('\n'); err != nil {
		return err
	}
	return l.w.Flush()
}

// Flush sends what was written.
func (l *ListWriter) Flush() error { return l.w.Flush() }

// ReadList reads a list of entries, in any order, and returns it in the order of a walk. A list that no
// folder can have, or whose files have no digest, is an error of code Invalid.
func ReadList(ctx context.Context, r io.Reader, limits Limits) ([]Entry, error) {
	limits = limits.withDefaults()
	dec := json.NewDecoder(&lineLimit{r: bufio.NewReaderSize(reader{ctx, r}, 64<<10)})
	var entries []Entry
	var bytes int64
	for {
		var l line
		err := dec.Decode(&l)
		var known *cloud.Error
		switch {
		case errors.Is(err, io.EOF):
			walkOrder(entries)
			return entries, checkTree(entries)
		case ctx.Err() != nil:
			return nil, cloud.Errorf(cloud.Interrupted, "read a list of files: %w", ctx.Err())
		case errors.As(err, &known):
			return nil, known
		case err != nil:
			return nil, cloud.Errorf(cloud.Invalid, "the list of files is broken behind entry %d: %w", len(entries), err)
		case len(entries) == limits.Entries:
			return nil, cloud.Errorf(cloud.Invalid, "the folder has more than %d entries", limits.Entries)
		}
		e, err := l.entry()
		if err != nil {
			return nil, err
		}
		if bytes += e.Size; e.Size < 0 || bytes < 0 || bytes > limits.Bytes {
			return nil, cloud.Errorf(cloud.Invalid, "the folder is larger than %s", cloud.FormatSize(limits.Bytes))
		}
		entries = append(entries, e)
	}
}

// entry checks a line by itself.
func (l line) entry() (Entry, error) {
	e := Entry{Size: l.Size, Link: l.Link, Mode: fs.FileMode(l.Mode)}
	refuse := func(format string, args ...any) (Entry, error) {
		return e, cloud.Errorf(cloud.Invalid, "entry %s %s", show(l.Path), fmt.Sprintf(format, args...))
	}
	clean, why := cleanName(l.Path)
	if why != "" {
		return refuse("%s", why)
	}
	if e.Path = clean; clean == "." || clean != l.Path {
		return refuse("is not a clean path")
	}
	if e.Mode != e.Mode.Perm() {
		return refuse("has set-user-ID, set-group-ID or sticky bits")
	}
	if l.Modified != nil {
		e.ModTime = wholeSeconds(*l.Modified)
	}
	switch {
	case l.Dir && l.Link == "":
		e.Mode |= fs.ModeDir
		e.Size = 0
	case l.Link != "" && !l.Dir:
		e.Mode |= fs.ModeSymlink
		e.Size = 0
		if len(l.Link) > maxPath || strings.ContainsRune(l.Link, 0) || !utf8.ValidString(l.Link) || path.IsAbs(l.Link) || !within(path.Dir(clean), l.Link) {
			return refuse("is a link out of the folder, to %s", show(l.Link))
		}
	case l.Dir:
		return refuse("is a folder and a link")
	default:
		sum, ok := strings.CutPrefix(l.Digest, digestPrefix)
		if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size {
			return refuse("has the digest %s, which is no sha256:… in hex", show(l.Digest))
		}
		e.SHA256 = strings.ToLower(sum)
	}
	return e, nil
}

// lineLimit bounds how much a decoder reads without a line's end.
type lineLimit struct {
	r      *bufio.Reader
	inLine int
}

func (l *lineLimit) Read(p []byte) (int, error) {
	const most = 64 << 10 // bytes: two names of the longest, escaped
	n, err := l.r.Read(p)
	for _, c := range p[:n] {
		if l.inLine++; c == '\n' {
			l.inLine = 0
		} else if l.inLine > most {
			return 0, cloud.Errorf(cloud.Invalid, "the list of files has a line of more than %d bytes", most)
		}
	}
	return n, err
}

// ComparePaths orders paths as a walk of the folder meets them: a folder before what is in it, and that
// before the folder's next sibling.
func ComparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		switch {
		case x == y:
		case x == '/':
			return -1
		case y == '/':
			return 1
		default:
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

// walkOrder sorts entries as a walk meets them.
func walkOrder(entries []Entry) {
	less := func(a, b Entry) int { return ComparePaths(a.Path, b.Path) }
	if !slices.IsSortedFunc(entries, less) {
		slices.SortFunc(entries, less)
	}
}

// checkTree reports entries, in the order of a walk, that one folder cannot have together.
func checkTree(entries []Entry) error {
	var parents []string // folders that the walk is in
	for i, e := range entries {
		if i > 0 && entries[i-1].Path == e.Path {
			return cloud.Errorf(cloud.Invalid, "entry %s is there twice", show(e.Path))
		}
		for len(parents) > 0 && !strings.HasPrefix(e.Path, parents[len(parents)-1]+"/") {
			parents = parents[:len(parents)-1]
		}
		if dir := path.Dir(e.Path); dir != "." && (len(parents) == 0 || parents[len(parents)-1] != dir) {
			return cloud.Errorf(cloud.Invalid, "entry %s lies below %s, which is no folder of the list", show(e.Path), show(dir))
		}
		if e.Mode.IsDir() {
			parents = append(parents, e.Path)
		}
	}
	return nil
}

// Digest returns the SHA-256, in hex, of what an image has of the entries, which are in the order of a walk:
// names, permission bits, contents, where links lead, and the times of files in seconds. The times of folders
// follow from these.
func Digest(entries []Entry) string {
	h := sha256.New()
	var b []byte
	for _, e := range entries {
		kind := "file"
		switch {
		case e.Mode.IsDir():
			kind = "folder"
		case e.Link != "":
			kind = "link"
		}
		at := int64(0)
		if !e.Mode.IsDir() && !e.ModTime.IsZero() {
			at = e.ModTime.Unix()
		}
		b = fmt.Appendf(b[:0], "%s %o %d %s\x00%s\x00%s\n", kind, e.Mode.Perm(), at, e.SHA256, e.Path, e.Link)
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}
