package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrTruncated is the error of an archive whose end is missing.
var ErrTruncated = errors.New("the archive has no end")

// reader makes a folder of one archive.
type reader struct {
	ctx     context.Context
	tar     *tar.Reader
	root    *os.Root
	folders []*tar.Header // whose attributes are set last: what is written into a folder changes its time
}

// Read makes the empty folder dir what an archive says, and returns when all of it is on the disk. After an error dir has
// some part of it.
func Read(ctx context.Context, in io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	from := &source{Reader: in}
	r := &reader{ctx: ctx, tar: tar.NewReader(from), root: root}
	if err := r.entries(); from.err != nil {
		return from.err // tar would say something else
	} else if err != nil {
		return err
	}
	for _, h := range slices.Backward(r.folders) {
		if err := r.finishFolder(h); err != nil {
			return err
		}
	}
	// What is behind the archive belongs to whoever keeps it, and may say that it is not whole.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	folder, err := root.Open(".")
	if err != nil {
		return err
	}
	defer folder.Close()
	return unix.Syncfs(int(folder.Fd()))
}

// source keeps the error of a stream.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (r *reader) entries() error {
	for count := 0; ; count++ {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		h, err := r.tar.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return ErrTruncated
		}
		if err != nil {
			return err
		}
		if said, end := h.PAXRecords[entriesKey]; end {
			if said != strconv.Itoa(count) {
				return fmt.Errorf("the archive has %d entries, and says that it has %s", count, said)
			}
			return nil
		}
		if err := r.entry(h); err != nil {
			return fmt.Errorf("unpack %q: %w", h.Name, err)
		}
	}
}

func (r *reader) entry(h *tar.Header) error {
	name := path.Clean(h.Name)
	if !filepath.IsLocal(name) || h.Typeflag == tar.TypeLink && !filepath.IsLocal(h.Linkname) {
		return errors.New("the archive names a file outside the volume")
	}
	switch h.Name = name; h.Typeflag {
	case tar.TypeDir:
		r.folders = append(r.folders, h)
		if name == "." {
			return nil
		}
		return r.root.Mkdir(name, 0o700)
	case tar.TypeReg:
		return r.file(h)
	case tar.TypeLink:
		return r.root.Link(h.Linkname, name)
	case tar.TypeSymlink:
		if err := r.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
		if err := r.root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
		return r.inParent(name, func(fd int, base string) error { return setTime(fd, base, h) })
	case tar.TypeFifo:
		return r.node(h, unix.S_IFIFO)
	case tar.TypeChar:
		if h.Devmajor == 0 && h.Devminor == 0 {
			return r.node(h, unix.S_IFCHR)
		}
	}
	return fmt.Errorf("entries of type %q are not of volumes", h.Typeflag)
}

func (r *reader) file(h *tar.Header) (err error) {
	file, err := r.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in := &cancelled{r.ctx, r.tar}
	if said, sparse := h.PAXRecords[sparseKey]; sparse {
		size, perr := strconv.ParseInt(said, 10, 64)
		if perr != nil || size < 0 {
			return fmt.Errorf("its size %q is no number", said)
		}
		err = readSparse(file, in, size)
	} else {
		_, err = io.Copy(file, in)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return ErrTruncated
	}
	if err != nil {
		return err
	}
	return r.finish(file, h)
}

// finish gives an open file its owner, mode, attributes and time. The owner comes first: changing it clears the set-user-ID
// bit and capabilities.
func (r *reader) finish(file *os.File, h *tar.Header) error {
	fd := int(file.Fd())
	if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(h.Mode&0o7777)); err != nil {
		return err
	}
	if err := writeAttributes(file, h); err != nil {
		return err
	}
	t, err := unix.TimeToTimespec(h.ModTime)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), []unix.Timespec{t, t}, 0)
}

func (r *reader) finishFolder(h *tar.Header) error {
	folder, err := r.root.Open(h.Name)
	if err != nil {
		return err
	}
	defer folder.Close()
	return r.finish(folder, h)
}

// node makes a FIFO or the like.
func (r *reader) node(h *tar.Header, kind uint32) error {
	return r.inParent(h.Name, func(fd int, base string) error {
		if err := unix.Mknodat(fd, base, kind|0o600, 0); err != nil {
			return err
		}
		if err := unix.Fchownat(fd, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		// It was made just now in a folder that is not in use, so it is no symbolic link.
		if err := unix.Fchmodat(fd, base, uint32(h.Mode&0o7777), 0); err != nil {
			return err
		}
		return setTime(fd, base, h)
	})
}

// inParent calls do with the folder of a file, and the file's name there.
func (r *reader) inParent(name string, do func(fd int, base string) error) error {
	dir, err := r.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return do(int(dir.Fd()), path.Base(name))
}

func setTime(fd int, base string, h *tar.Header) error {
	t, err := unix.TimeToTimespec(h.ModTime)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(fd, base, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
}
