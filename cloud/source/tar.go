package source

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Hash fills in the SHA-256 of every file. It reads them all, in constant memory, as many at a time as there
// are processors.
func (s *Set) Hash(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range runtime.NumCPU() {
		all.Go(func() {
			files := opener{root: s.root}
			defer files.close()
			for i := next.Add(1) - 1; i < int64(len(s.Entries)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if e := &s.Entries[i]; e.Mode.IsRegular() && e.SHA256 == "" {
					sum := sha256.New()
					if err := files.copy(ctx, sum, e); err != nil {
						cancel(err)
						return
					}
					e.SHA256 = hex.EncodeToString(sum.Sum(nil))
				}
			}
		})
	}
	all.Wait()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = cloud.Errorf(cloud.Interrupted, "read the folder: %w", err)
	}
	return err
}

// WriteList fills in the SHA-256 of every file, and writes the entries as a list. As long as it reads files
// it sends empty lines, so that who reads the list goes on waiting.
func (s *Set) WriteList(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hashed := make(chan error, 1)
	go func() { hashed <- s.Hash(ctx) }()
	list := NewListWriter(w)
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := list.KeepAlive(); err != nil {
				cancel()
				<-hashed
				return err
			}
			continue
		case err := <-hashed:
			if err != nil {
				return err
			}
		}
		for i := range s.Entries {
			if err := list.Write(s.Entries[i]); err != nil {
				return err
			}
		}
		return list.Flush()
	}
}

// keepAlive is less than half of what a node waits for the next bytes of a list.
const keepAlive = 20 * time.Second

// WriteTar writes the entries as a tar stream, in constant memory. Owners are left out. send, where it is
// given, chooses the files of which the content is sent; folders and links always are. progress, where it
// is given, gets the bytes of content written so far.
func (s *Set) WriteTar(ctx context.Context, w io.Writer, send func(Entry) bool, progress func(int64)) error {
	tw := tar.NewWriter(w)
	count := &counter{progress: progress}
	files := opener{root: s.root}
	defer files.close()
	for i := range s.Entries {
		e := &s.Entries[i]
		if err := ctx.Err(); err != nil {
			return cloud.Errorf(cloud.Interrupted, "send %s: %w", show(e.Path), err)
		}
		// PAX has names of any length; it adds a header of its own only to those that need it.
		h := &tar.Header{Name: e.Path, Mode: int64(e.Mode.Perm()), ModTime: wholeSeconds(e.ModTime), Format: tar.FormatPAX}
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
			sum := sha256.New()
			if err := files.copy(ctx, io.MultiWriter(tw, count, sum), e); err != nil {
				return err
			}
			if e.SHA256 != "" && e.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
				return changed(e)
			}
		}
	}
	return tw.Close()
}

// opener opens files of a root. It keeps the folder of the last one open: most files are in the same, and
// their names are then a single step.
type opener struct {
	root   *os.Root
	dir    string
	folder *os.Root
}

func (o *opener) close() {
	if o.folder != nil {
		o.folder.Close()
	}
}

func (o *opener) open(p string) (*os.File, error) {
	// Something else may have taken the file's place.
	const flags = os.O_RDONLY | plainFile
	dir, name := path.Split(p)
	if dir == "" {
		return o.root.OpenFile(name, flags, 0)
	}
	if o.folder == nil || o.dir != dir {
		folder, err := o.root.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		o.close()
		o.dir, o.folder = dir, folder
	}
	return o.folder.OpenFile(name, flags, 0)
}

// copy writes exactly as many bytes of the file as it had when it was listed. What was appended since is
// left out.
func (o *opener) copy(ctx context.Context, w io.Writer, e *Entry) error {
	f, err := o.open(e.Path)
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "read %s: %w", show(e.Path), err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() < e.Size) {
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
	return cloud.Errorf(cloud.Conflict, "%s was changed while it was read", show(e.Path)).WithHint("push again, or leave it out with a line in .microignore")
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
