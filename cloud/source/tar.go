package source

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/protoduction/micro/cloud"
)

// Hash fills in the SHA-256 of every file. It reads them all, in constant memory.
func (s *Set) Hash(ctx context.Context) error {
	for i := range s.Entries {
		e := &s.Entries[i]
		if !e.Mode.IsRegular() || e.SHA256 != "" {
			continue
		}
		sum := sha256.New()
		if err := s.copy(ctx, sum, e); err != nil {
			return err
		}
		e.SHA256 = hex.EncodeToString(sum.Sum(nil))
	}
	return nil
}

// WriteTar writes the entries as a tar stream, in constant memory. Owners are left out. send, where it is
// given, chooses the files of which the content is sent; folders and links always are. progress, where it
// is given, gets the bytes of content written so far.
func (s *Set) WriteTar(ctx context.Context, w io.Writer, send func(Entry) bool, progress func(int64)) error {
	tw := tar.NewWriter(w)
	count := &counter{progress: progress}
	for i := range s.Entries {
		e := &s.Entries[i]
		if err := ctx.Err(); err != nil {
			return cloud.Errorf(cloud.Interrupted, "send %s: %w", show(e.Path), err)
		}
		// PAX keeps times below the second and names of any length; anything else only without need of them.
		h := &tar.Header{Name: e.Path, Mode: int64(e.Mode.Perm()), ModTime: e.ModTime, Format: tar.FormatPAX}
		switch {
		case e.Mode.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, e.Path+"/"
		case e.Link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
		default:
			if send != nil && !send(*e) {
				continue
			}
			h.Typeflag, h.Size = tar.TypeReg, e.Size
		}
		if err := tw.WriteHeader(h); err != nil {
			return cloud.Errorf(cloud.Invalid, "send %s: %w", show(e.Path), err)
		}
		if h.Typeflag == tar.TypeReg {
			if err := s.copy(ctx, io.MultiWriter(tw, count), e); err != nil {
				return err
			}
		}
	}
	return tw.Close()
}

// copy writes exactly as many bytes of the file as it had when it was listed.
func (s *Set) copy(ctx context.Context, w io.Writer, e *Entry) error {
	// Something else may have taken the file's place: without O_NONBLOCK a FIFO would keep us waiting.
	f, err := s.root.OpenFile(e.Path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "read %s: %w", show(e.Path), err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != e.Size) {
		return changed(e)
	}
	if err == nil {
		_, err = io.CopyN(w, reader{ctx, f}, e.Size)
	}
	switch {
	case errors.Is(err, io.EOF):
		return changed(e)
	case ctx.Err() != nil:
		return cloud.Errorf(cloud.Interrupted, "read %s: %w", show(e.Path), ctx.Err())
	case err != nil:
		return cloud.Errorf(cloud.Unavailable, "send %s: %w", show(e.Path), err)
	}
	return nil
}

func changed(e *Entry) error {
	return cloud.Errorf(cloud.Conflict, "%s was changed while it was read", show(e.Path)).WithHint("run the command again")
}

// reader ends with the context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

type counter struct {
	n        int64
	progress func(int64)
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	if c.progress != nil {
		c.progress(c.n)
	}
	return len(p), nil
}
