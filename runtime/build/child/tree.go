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

// tree is a source folder with a list of its content. Nobody changes it, so its content is known without reading the
// folder.
type tree struct {
	dir    string
	digest string // of the whole content
	list   string // path of the list, which is read only if needed
}

var _ fsutil.FS = (*entries)(nil)

// entries implements fsutil.FS for a tree.
type entries struct {
	dir string
	all []source.Entry // in the order of a walk
}

// treeOf returns the tree of a request; nil if its source has no list.
func treeOf(r build.Request) *tree {
	if r.List == "" || r.Digest == "" {
		return nil
	}
	return &tree{dir: r.Source, digest: r.Digest, list: r.List}
}

// open reads the tree's list.
func (t *tree) open(ctx context.Context) (*entries, error) {
	f, err := os.Open(t.list)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := source.ReadList(ctx, f, source.Unlimited)
	return &entries{t.dir, all}, err
}

// Open implements fsutil.FS.
func (t *entries) Open(p string) (io.ReadCloser, error) { return os.Open(filepath.Join(t.dir, p)) }

// Walk implements fsutil.FS. It calls fn for target, unless that is the root, and for everything below it.
func (t *entries) Walk(ctx context.Context, target string, fn fs.WalkDirFunc) error {
	target = strings.Trim(path.Clean("/"+target), "/")
	from := 0
	if target != "" {
		for from < len(t.all) && t.all[from].Path != target {
			from++
		}
	}
	skip := "" // folder to skip, with a slash at its end
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

// statOf returns the description of an entry. The owner is root, as in BuildKit's own transfer.
func statOf(e source.Entry) *types.Stat {
	st := &types.Stat{Path: e.Path, Mode: uint32(e.Mode), Size: e.Size, Linkname: e.Link}
	if !e.ModTime.IsZero() {
		st.ModTime = e.ModTime.UnixNano()
	}
	return st
}

// hashed is a file's description with the digest that BuildKit compares.
type hashed struct {
	*fsutil.StatInfo
	digest digest.Digest
}

// Digest implements contenthash.Hashed.
func (h hashed) Digest() digest.Digest { return h.digest }

// hash returns an entry with its digest. The digest does not include times, so that equal files are equal inputs.
func hash(st *types.Stat, sum string) hashed {
	h := sha256.New()
	fmt.Fprintf(h, "%o %d %d %s\x00%s", st.Mode, st.Uid, st.Gid, sum, st.Linkname)
	return hashed{&fsutil.StatInfo{Stat: st}, digest.NewDigest(digest.SHA256, h)}
}
