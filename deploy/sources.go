package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// sources keeps the files of each app's last upload, by content and permission bits, as
// GROUP/APP/DIGEST-MODE below its folder. The next upload sends the files that are missing there. It is a
// cache: all of it may be removed at any time.
type sources struct {
	dir string
	mu  sync.Mutex
}

func newSources(dir string) (*sources, error) {
	s := &sources{dir: filepath.Join(dir, "sources")}
	return s, os.MkdirAll(s.dir, 0o700)
}

func (s *sources) path(app cloud.AppRef) string {
	return filepath.Join(s.dir, string(app.Group), string(app.App))
}

// blobOf returns the name under which a file is kept; "" for a folder, a link, and a file without a digest.
func blobOf(f api.File) string {
	digest, ok := strings.CutPrefix(f.Digest, "sha256:")
	if sum, err := hex.DecodeString(digest); f.Dir || f.Link != "" || !ok || err != nil || len(sum) != sha256.Size {
		return ""
	}
	return blobName(strings.ToLower(digest), fs.FileMode(f.Mode))
}

func blobName(digest string, mode fs.FileMode) string {
	return fmt.Sprintf("%s-%03o", digest, mode.Perm())
}

// linkKnown links the files that are kept into the new folder known, where they stay whatever happens to
// the cache, and returns the paths of the other files.
func (s *sources) linkKnown(app cloud.AppRef, files []api.File, known string) (missing []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Mkdir(known, 0o700); err != nil {
		return nil, err
	}
	missing = []string{}
	for _, f := range files {
		if f.Dir || f.Link != "" {
			continue
		}
		name := blobOf(f)
		if name == "" {
			missing = append(missing, f.Path)
			continue
		}
		err := os.Link(filepath.Join(s.path(app), name), filepath.Join(known, name))
		switch {
		case err == nil, errors.Is(err, fs.ErrExist):
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EMLINK):
			missing = append(missing, f.Path)
		default:
			return nil, err
		}
	}
	return missing, nil
}

// addKnown adds the files to an upload that were not sent because they were known.
func (s *sources) addKnown(files []api.File, known, upload string) error {
	root, err := os.OpenRoot(upload)
	if err != nil {
		return err
	}
	defer root.Close()
	used := map[string]bool{}
	for _, f := range files {
		if f.Dir || f.Link != "" {
			continue
		}
		if !filepath.IsLocal(f.Path) {
			return cloud.Errorf(cloud.Invalid, "file %q lies outside the folder", f.Path)
		}
		if _, err := root.Lstat(f.Path); err == nil {
			continue
		}
		name := blobOf(f)
		if name == "" {
			return errNotSent(f)
		}
		from := filepath.Join(known, name)
		if err := root.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
			return cloud.Errorf(cloud.Invalid, "file %q: %w", f.Path, err)
		}
		// The first path with a content gets the file itself, and others get copies: in a build, two names of
		// one file would become hard links.
		if !used[name] {
			used[name] = true
			to := filepath.Join(upload, f.Path)
			if dir, err := filepath.EvalSymlinks(filepath.Dir(to)); err == nil && dir == filepath.Clean(filepath.Dir(to)) {
				if os.Link(from, to) == nil {
					continue
				}
			}
		}
		if err := copyInto(root, f, from); err != nil {
			return err
		}
	}
	return nil
}

func errNotSent(f api.File) error {
	return cloud.Errorf(cloud.Invalid, "file %q was listed but not sent", f.Path).WithHint("push again")
}

func copyInto(root *os.Root, f api.File, from string) (err error) {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return errNotSent(f)
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := root.OpenFile(f.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	return root.Chtimes(f.Path, info.ModTime(), info.ModTime())
}

// remember keeps the files of an upload instead of those of the app's last one. It works in the new folder
// scratch, on the same file system.
func (s *sources) remember(app cloud.AppRef, upload, known, scratch string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Mkdir(scratch, 0o700); err != nil {
		return err
	}
	names, err := inodes(known)
	if err != nil {
		return err
	}
	err = filepath.WalkDir(upload, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name := names[inode(info)]
		if name == "" {
			digest, err := digestOf(path)
			if err != nil {
				return err
			}
			name = blobName(digest, info.Mode())
		}
		err = os.Link(path, filepath.Join(scratch, name))
		if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.EMLINK) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	kept := s.path(app)
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(kept); err != nil {
		return err
	}
	return os.Rename(scratch, kept)
}

// inodes returns the names of the files in a folder by their inode numbers.
func inodes(dir string) (map[uint64]string, error) {
	names := map[uint64]string{}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		names[inode(info)] = e.Name()
	}
	return names, err
}

func inode(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

func digestOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// clear removes all kept files.
func (s *sources) clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	apps, err := os.ReadDir(s.dir)
	for _, a := range apps {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, a.Name())))
	}
	return err
}
