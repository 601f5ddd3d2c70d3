package backup

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/protoduction/micro/cloud"
)

// Place keeps the files of backups.
type Place interface {
	// Put writes a file, which has its name once write has returned nil and all is durable, and otherwise never.
	Put(ctx context.Context, name string, write func(io.Writer) error) error
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// Remove removes a file, which need not be there.
	Remove(ctx context.Context, name string) error
	// List returns the names of the files that begin with prefix, in order.
	List(ctx context.Context, prefix string) ([]string, error)
}

// Folder is a place in the file system of a node.
type Folder struct {
	Dir string
	// Make creates the folder where it is missing. A folder of somebody else is not created: a disk that is not mounted
	// must not go unnoticed.
	Make bool
}

var _ Place = Folder{}

// partSuffix ends the names of files that are being written.
const partSuffix = ".part"

// Put implements Place.
func (f Folder) Put(_ context.Context, name string, write func(io.Writer) error) error {
	if err := f.open(); err != nil {
		return err
	}
	file, err := os.CreateTemp(f.Dir, "."+name+".*"+partSuffix) // with mode 0600
	if err != nil {
		return f.fault(err)
	}
	defer os.Remove(file.Name()) // nothing is left of it after the rename
	defer file.Close()
	out := bufio.NewWriterSize(file, 256<<10)
	if err := write(out); err != nil {
		return f.fault(err)
	}
	if err := errors.Join(out.Flush(), file.Sync()); err != nil {
		return f.fault(err)
	}
	if err := os.Rename(file.Name(), filepath.Join(f.Dir, name)); err != nil {
		return f.fault(err)
	}
	dir, err := os.Open(f.Dir)
	if err != nil {
		return f.fault(err)
	}
	return f.fault(errors.Join(dir.Sync(), dir.Close()))
}

func (f Folder) open() error {
	if f.Make {
		return f.fault(os.MkdirAll(f.Dir, 0o700))
	}
	info, err := os.Stat(f.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cloud.Errorf(cloud.NotFound, "the folder %s does not exist on the node", f.Dir).WithCommand("mkdir -p %s", f.Dir)
	case err == nil && !info.IsDir():
		return cloud.Errorf(cloud.Invalid, "%s is not a folder", f.Dir)
	}
	return f.fault(err)
}

func (f Folder) fault(err error) error {
	if _, said := errors.AsType[*cloud.Error](err); err == nil || said {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return cloud.Errorf(cloud.Unavailable, "the disk of %s is full: %w", f.Dir, err).WithHint("free some space, or choose another place with --to")
	}
	return cloud.Errorf(cloud.Unavailable, "cannot use the folder %s: %w", f.Dir, err)
}

// Get implements Place.
func (f Folder) Get(_ context.Context, name string) (io.ReadCloser, error) {
	file, err := os.Open(filepath.Join(f.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cloud.Errorf(cloud.NotFound, "the file %s is missing", filepath.Join(f.Dir, name))
	}
	if err != nil {
		return nil, f.fault(err)
	}
	return file, nil
}

// Remove implements Place.
func (f Folder) Remove(_ context.Context, name string) error {
	if err := os.Remove(filepath.Join(f.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.fault(err)
	}
	return nil
}

// List implements Place.
func (f Folder) List(_ context.Context, prefix string) (names []string, err error) {
	entries, err := os.ReadDir(f.Dir)
	if err != nil && !(f.Make && errors.Is(err, fs.ErrNotExist)) {
		return nil, f.fault(err)
	}
	for _, e := range entries {
		if _, _, ok := cloud.ParseBackupName(e.Name()); ok && strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Clear removes what a killed process has left. Nothing may be written to the folder meanwhile.
func (f Folder) Clear() error {
	entries, err := os.ReadDir(f.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && strings.HasSuffix(e.Name(), partSuffix) {
			err = errors.Join(err, os.Remove(filepath.Join(f.Dir, e.Name())))
		}
	}
	return err
}
