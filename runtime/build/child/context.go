package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/cache/contenthash"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/source"
	"github.com/moby/buildkit/source/local"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// contexts provides builds with their source folders. BuildKit's own source sends each file over a connection, writes it
// again, and reads it again to hash it. A listed tree is on the same disk, its digests are known, and nobody changes it. So
// its files are hard-linked into a snapshot. For an unchanged tree not even that is needed, because the tree's digest is
// the cache key.
type contexts struct {
	source.Source // BuildKit's, for folders without a list
	cache         cache.Accessor

	mu    sync.Mutex
	trees map[string]*tree // by the key in the build's definition
}

func newContexts(c cache.Accessor) (*contexts, error) {
	own, err := local.NewSource(local.Opt{CacheAccessor: c})
	return &contexts{Source: own, cache: c, trees: map[string]*tree{}}, err
}

// add registers a tree under a key until the returned function is called.
func (c *contexts) add(key string, t *tree) (remove func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trees[key] = t
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.trees, key)
	}
}

// Resolve implements source.Source.
func (c *contexts) Resolve(ctx context.Context, id source.Identifier, sm *session.Manager, v solver.Vertex) (source.SourceInstance, error) {
	if l, ok := id.(*local.LocalIdentifier); ok {
		c.mu.Lock()
		t := c.trees[l.SessionID]
		c.mu.Unlock()
		if t != nil {
			return &treeInstance{c.cache, t, l}, nil
		}
	}
	return c.Source.Resolve(ctx, id, sm, v)
}

// treeInstance is the part of a tree that a build requests.
type treeInstance struct {
	cache cache.Accessor
	tree  *tree
	asked *local.LocalIdentifier
}

// CacheKey implements source.SourceInstance.
func (t *treeInstance) CacheKey(context.Context, solver.JobContext, int) (key, pin string, _ solver.CacheOpts, done bool, err error) {
	asked, err := json.Marshal([][]string{t.asked.IncludePatterns, t.asked.ExcludePatterns, t.asked.FollowPaths})
	if err != nil {
		return "", "", nil, false, err
	}
	key = fmt.Sprintf("tree:%s:%s", t.tree.digest, digest.FromBytes(asked))
	return key, t.tree.digest, nil, true, nil
}

// Snapshot implements source.SourceInstance.
func (t *treeInstance) Snapshot(ctx context.Context, _ solver.JobContext) (_ cache.ImmutableRef, err error) {
	all, err := t.tree.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the list of the source folder: %w", err)
	}
	part, err := fsutil.NewFilterFS(all, &fsutil.FilterOpt{
		IncludePatterns: t.asked.IncludePatterns, ExcludePatterns: t.asked.ExcludePatterns, FollowPaths: t.asked.FollowPaths,
	})
	if err != nil {
		return nil, err
	}
	ref, err := t.cache.New(ctx, nil, nil, cache.CachePolicyRetain, cache.WithRecordType(client.UsageRecordTypeLocalSource),
		cache.WithDescription("source folder"))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			contenthash.ClearCacheContext(ref)
			err = errors.Join(err, ref.SetCachePolicyDefault(), ref.Release(context.WithoutCancel(ctx)))
		}
	}()
	hashes, err := contenthash.GetCacheContext(ctx, ref)
	if err != nil {
		return nil, err
	}
	mounts, err := ref.Mount(ctx, false, nil)
	if err != nil {
		return nil, err
	}
	mounter := snapshot.LocalMounter(mounts)
	to, err := mounter.Mount()
	if err != nil {
		return nil, err
	}
	err = all.link(ctx, part, to, hashes)
	if uerr := mounter.Unmount(); err == nil {
		err = uerr
	}
	if err != nil {
		return nil, fmt.Errorf("prepare the source folder: %w", err)
	}
	if err := contenthash.SetCacheContext(ctx, ref, hashes); err != nil {
		return nil, err
	}
	return ref.Commit(ctx)
}

// link hard-links the files of a part of the tree below to, and reports the hashes of all entries.
func (t *entries) link(ctx context.Context, part fsutil.FS, to string, hashes contenthash.CacheContext) error {
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	began := time.Now()
	var folders []*types.Stat
	err = part.Walk(ctx, "", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*types.Stat)
		if !ok {
			return fmt.Errorf("%s has no description", p)
		}
		listed, _ := t.get(p)
		switch {
		case info.IsDir():
			folders = append(folders, st)
			err = root.Mkdir(p, 0o700)
		case info.Mode()&fs.ModeSymlink != 0:
			err = root.Symlink(st.Linkname, p)
		default:
			// No folder of the path is a link: trees and lists have been checked for that.
			if fromNow := time.Unix(0, st.ModTime).After(began.Add(-time.Second)); fromNow {
				err = syscall.EXDEV // copy it, because seal will change its time
			} else {
				err = os.Link(filepath.Join(t.dir, p), filepath.Join(to, p))
			}
			if errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EMLINK) {
				err = copyFile(filepath.Join(t.dir, p), root, st)
			}
		}
		if err != nil {
			return err
		}
		return hashes.HandleChange(fsutil.ChangeKindAdd, p, hash(st, listed.SHA256), nil)
	})
	for i := len(folders) - 1; i >= 0 && err == nil; i-- {
		st := folders[i]
		if err = root.Chmod(st.Path, fs.FileMode(st.Mode).Perm()); err == nil {
			at := time.Unix(0, st.ModTime)
			err = root.Chtimes(st.Path, at, at)
		}
	}
	return err
}

func copyFile(from string, root *os.Root, st *types.Stat) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := root.OpenFile(st.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	err = errors.Join(err, out.Chmod(fs.FileMode(st.Mode).Perm()), out.Close())
	if err != nil {
		return err
	}
	at := time.Unix(0, st.ModTime)
	return root.Chtimes(st.Path, at, at)
}
