package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"sync"
	"time"
)

// maxBuffered bounds the files that are written by several writers, in bytes. A larger one is written as it
// is read, so that it takes no memory.
const maxBuffered = 256 << 10

// written is a file that is unpacked.
type written struct {
	name     string
	mode     fs.FileMode
	modified time.Time
	size     int64
	content  []byte
	sum      string // SHA-256 in hex, once it is written
}

// writers write and hash small files in parallel: for most of them, making the file takes longer than
// reading its content.
type writers struct {
	root    *os.Root
	queue   chan *written
	buffers sync.Pool
	all     sync.WaitGroup // writers
	pending sync.WaitGroup // files that were added and are not written yet

	done []*written // of the reader's goroutine alone

	mu  sync.Mutex
	err error
}

func newWriters(root *os.Root) *writers {
	// The queue bounds what is held in memory: 16 MiB at most.
	w := &writers{root: root, queue: make(chan *written, 64)}
	for range max(2, runtime.NumCPU()) {
		w.all.Go(func() {
			at := place{root: root}
			defer at.close()
			for f := range w.queue {
				if err := at.create(f); err != nil {
					w.fail(err)
				}
				w.buffers.Put(&f.content)
				f.content = nil
				w.pending.Done()
			}
		})
	}
	return w
}

// buffer returns room for a file's content.
func (w *writers) buffer(size int) []byte {
	if b, ok := w.buffers.Get().(*[]byte); ok && cap(*b) >= size {
		return (*b)[:size]
	}
	return make([]byte, size)
}

// add has a file written. Its error, or that of an earlier file, is returned now or later.
func (w *writers) add(f *written) error {
	if err := w.failure(); err != nil {
		return err
	}
	w.done = append(w.done, f)
	w.pending.Add(1)
	w.queue <- f
	return nil
}

// write writes a file as its content is read.
func (w *writers) write(ctx context.Context, f *written, content io.Reader) error {
	w.done = append(w.done, f)
	at := place{root: w.root}
	defer at.close()
	return at.stream(ctx, f, content)
}

// wait returns when all files that were added are written.
func (w *writers) wait() error {
	w.pending.Wait()
	return w.failure()
}

// finish ends the writers.
func (w *writers) finish() error {
	close(w.queue)
	w.all.Wait()
	return w.failure()
}

func (w *writers) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

func (w *writers) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// place makes files. It keeps the folder of the last one open: most files are in the same, and their names
// are then a single step.
type place struct {
	root   *os.Root
	dir    string
	folder *os.Root
}

func (p *place) close() {
	if p.folder != nil {
		p.folder.Close()
	}
}

// in returns the folder of a name, and the name seen from there.
func (p *place) in(name string) (*os.Root, string, error) {
	dir, base := path.Split(name)
	if dir == "" {
		return p.root, base, nil
	}
	if p.folder == nil || p.dir != dir {
		folder, err := p.root.OpenRoot(dir)
		if err != nil {
			return nil, "", err
		}
		p.close()
		p.dir, p.folder = dir, folder
	}
	return p.folder, base, nil
}

// create writes a file whose content is in memory.
func (p *place) create(f *written) error {
	sum := sha256.Sum256(f.content)
	f.sum = hex.EncodeToString(sum[:])
	folder, name, err := p.in(f.name)
	if err != nil {
		return unpackError(f.name, err)
	}
	out, err := folder.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return unpackError(f.name, err)
	}
	_, err = out.Write(f.content)
	return unpackError(f.name, errors.Join(err, finishFile(folder, name, out, f)))
}

// stream writes a file as its content is read.
func (p *place) stream(ctx context.Context, f *written, content io.Reader) error {
	folder, name, err := p.in(f.name)
	if err != nil {
		return unpackError(f.name, err)
	}
	out, err := folder.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return unpackError(f.name, err)
	}
	defer out.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), content)
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return unpackError(f.name, err) // of writing: the disk is full, say
	}
	if err != nil {
		return broken(ctx, err, f.name)
	}
	if n != f.size {
		return cut(f.name)
	}
	f.sum = hex.EncodeToString(sum.Sum(nil))
	return unpackError(f.name, finishFile(folder, name, out, f))
}

// finishFile gives a file its permission bits and time, and closes it.
func finishFile(folder *os.Root, name string, out *os.File, f *written) error {
	err := out.Chmod(f.mode)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil && !f.modified.IsZero() {
		err = folder.Chtimes(name, f.modified, f.modified)
	}
	return err
}
