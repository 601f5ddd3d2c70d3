package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The records of an entry that tar itself doesn't have.
const (
	// sparseKey has the size of a file whose content is a map of its data and then the data: see sparse.go.
	sparseKey = "MICRO.sparse"
	// entriesKey is in the last entry only, and has the number of entries before it.
	entriesKey = "MICRO.entries"
	endName    = "end"
)

// writer writes one archive.
type writer struct {
	ctx     context.Context
	tar     *tar.Writer
	root    *os.Root
	entries int
	links   map[inode]string // the first name of each file that has several
}

type inode struct{ dev, ino uint64 }

// Write writes the folder dir. Nobody may change it meanwhile: a file that has become shorter is an error.
func Write(ctx context.Context, out io.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	w := &writer{ctx: ctx, tar: tar.NewWriter(out), root: root, links: map[inode]string{}}
	if err := w.add("."); err != nil {
		return err
	}
	end := &tar.Header{Name: endName, Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{entriesKey: strconv.Itoa(w.entries)}}
	return errors.Join(w.tar.WriteHeader(end), w.tar.Close())
}

// add writes a file, or a folder and all that is in it.
func (w *writer) add(name string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	info, err := w.root.Lstat(name)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: the system says nothing of the file", name)
	}
	h := &tar.Header{
		Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), ModTime: time.Unix(st.Mtim.Unix()),
		Format: tar.FormatPAX, PAXRecords: map[string]string{},
	}
	if first, again := w.links[inode{st.Dev, st.Ino}]; again && !info.IsDir() {
		h.Typeflag, h.Linkname = tar.TypeLink, first
		return w.header(h)
	}
	if st.Nlink > 1 && !info.IsDir() {
		w.links[inode{st.Dev, st.Ino}] = name
	}
	switch info.Mode().Type() {
	case 0:
		return w.file(h, st)
	case fs.ModeDir:
		return w.folder(h)
	case fs.ModeSymlink:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = w.root.Readlink(name); err != nil {
			return err
		}
		return w.header(h)
	case fs.ModeNamedPipe:
		h.Typeflag = tar.TypeFifo
		return w.header(h)
	case fs.ModeSocket:
		return nil
	case fs.ModeDevice | fs.ModeCharDevice:
		if st.Rdev == 0 { // a file that an overlay hides: the only device that a container can make
			h.Typeflag = tar.TypeChar
			return w.header(h)
		}
	}
	return fmt.Errorf("%s is a device, which a volume does not have", name)
}

func (w *writer) header(h *tar.Header) error {
	w.entries++
	return w.tar.WriteHeader(h)
}

func (w *writer) folder(h *tar.Header) error {
	h.Typeflag = tar.TypeDir
	dir, err := w.root.Open(h.Name)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := readAttributes(dir, h); err != nil {
		return err
	}
	if err := w.header(h); err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := w.add(path.Join(h.Name, name)); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) file(h *tar.Header, st *syscall.Stat_t) error {
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	file, err := w.root.OpenFile(h.Name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := readAttributes(file, h); err != nil {
		return err
	}
	const block = 512 // of st_blocks, on every file system: stat(2)
	data := []extent{{0, st.Size}}
	if st.Blocks*block < st.Size {
		if data, err = extents(file, st.Size); err != nil {
			return err
		}
		h.PAXRecords[sparseKey], h.Size = strconv.FormatInt(st.Size, 10), sizeOf(data)
	}
	if err := w.header(h); err != nil {
		return err
	}
	if h.Size == 0 {
		return nil
	}
	if _, sparse := h.PAXRecords[sparseKey]; sparse {
		if err := writeMap(w.tar, data); err != nil {
			return err
		}
	}
	for _, e := range data {
		n, err := io.Copy(w.tar, &cancelled{w.ctx, io.NewSectionReader(file, e.offset, e.length)})
		switch {
		case err != nil:
			return err
		case n != e.length:
			return fmt.Errorf("%s became shorter while it was read", h.Name)
		}
	}
	return nil
}

// cancelled ends with its context: one file may be large.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
