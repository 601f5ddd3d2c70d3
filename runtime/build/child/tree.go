package child

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"

	"github.com/protoduction/micro/cloud/source"
	"github.com/protoduction/micro/runtime/build"
)

// tree is a source folder that nobody changes, and that is listed: what is in it is known without a look
// at the disk.
type tree struct {
	dir    string
	digest string // of all that is in it
	list   string // the file that says what is in it, which is read only where the tree is
}

var _ fsutil.FS = (*entries)(nil)

// entries is a listed tree as BuildKit walks it.
type entries struct {
	dir string
	all []source.Entry // in the order of a walk
}

// treeOf returns the tree of a request; nil where its source is not listed.
func treeOf(r build.Request) *tree {
	if r.List == "" || r.Digest == "" {
		return nil
	}
	return &tree{dir: r.Source, digest: r.Digest, list: r.List}
}

// open reads what is in the tree.
func (t *tree) open(ctx context.Context) (*entries, error) {
	f, err := os.Open(t.list)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := source.ReadList(ctx, f, source.Unlimited)
	return &entries{t.dir, all}, err
}

// Open is fsutil.FS's.
func (t *entries) Open(p string) (io.ReadCloser, error) { return os.Open(filepath.Join(t.dir, p)) }

// Walk is fsutil.FS's: it calls fn with all below target, and with target itself but for the root.
func (t *entries) Walk(ctx context.Context, target string, fn fs.WalkDirFunc) error {
	target = strings.Trim(path.Clean("/"+target), "/")
	from := 0
	if target != "" {
		for from < len(t.all) && t.all[from].Path != target {
			from++
		}
	}
	skip := "" // a folder, with its slash, of which the rest is passed over
	for i, e := range t.all[from:] {
		if target != "" && i > 0 && !strings.HasPrefix(e.Path, target+"/") {
			return nil
		}
		if skip != "" && strings.HasPrefix(e.Path, skip) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		switch err := fn(e.Path, &fsutil.DirEntryInfo{Stat: statOf(e)}, nil); {
		case err == fs.SkipAll: //nolint:errorlint // as filepath.WalkDir has it
			return nil
		case err == fs.SkipDir && e.Mode.IsDir(): //nolint:errorlint
			skip = e.Path + "/"
		case err == fs.SkipDir: //nolint:errorlint
			if skip = path.Dir(e.Path) + "/"; skip == "./" {
				return nil
			}
		case err != nil:
			return err
		}
	}
	return nil
}

// get returns the entry at a path.
func (t *entries) get(p string) (source.Entry, bool) {
	i := sort.Search(len(t.all), func(i int) bool { return source.ComparePaths(t.all[i].Path, p) >= 0 })
	if i == len(t.all) || t.all[i].Path != p {
		return source.Entry{}, false
	}
	return t.all[i], true
}

// statOf describes an entry. All belong to root, as in BuildKit's own transfer of a folder.
func statOf(e source.Entry) *types.Stat {
	st := &types.Stat{Path: e.Path, Mode: uint32(e.Mode), Size: e.Size, Linkname: e.Link}
	if !e.ModTime.IsZero() {
		st.ModTime = e.ModTime.UnixNano()
	}
	return st
}

// hashed is a file's description with the digest that BuildKit compares it by.
type hashed struct {
	*fsutil.StatInfo
	digest digest.Digest
}

// Digest is contenthash.Hashed's.
func (h hashed) Digest() digest.Digest { return h.digest }

// hash returns an entry with its digest. Times are no part of it: the same files are the same input.
func hash(st *types.Stat, sum string) hashed {
	h := sha256.New()
	fmt.Fprintf(h, "%o %d %d %s\x00%s", st.Mode, st.Uid, st.Gid, sum, st.Linkname)
	return hashed{&fsutil.StatInfo{Stat: st}, digest.NewDigest(digest.SHA256, h)}
}
