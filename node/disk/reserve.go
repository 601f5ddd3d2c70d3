package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// reserveFile holds the room, in the data folder.
	reserveFile = "reserve"
	// maxReserve bounds the reserve in bytes; it takes a 32nd of a smaller disk.
	maxReserve = 64 << 20
	// refillEvery is how often a reserve that was released is looked after.
	refillEvery = time.Minute
)

// Reserve is room on a node's disk that nobody else can fill: a file of zeros. A full disk is repaired by
// removing things, which takes a few bytes itself: lines in the store and in containerd's metadata, and a
// build process for its cache. These come from the reserve. It is filled again once the disk has room.
type Reserve struct {
	path string
	size int64
	log  *slog.Logger

	mu   sync.Mutex
	lent int // repairs under way
}

// NewReserve returns the reserve of a data folder. It writes nothing: a node must start on a full disk.
func NewReserve(data string, log *slog.Logger) (*Reserve, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(data, &st); err != nil {
		return nil, fmt.Errorf("statfs %s: %w", data, err)
	}
	return &Reserve{path: filepath.Join(data, reserveFile), size: min(maxReserve, int64(st.Blocks)*st.Bsize/32), log: log}, nil
}

// Run fills the reserve whenever there is room, until ctx ends.
func (r *Reserve) Run(ctx context.Context) error {
	tick := time.NewTicker(refillEvery)
	defer tick.Stop()
	for {
		r.fill()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Lend releases the reserve for a repair until the function that it returns is called.
func (r *Reserve) Lend() (giveBack func()) {
	r.mu.Lock()
	r.lent++
	r.release()
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		r.lent--
		r.mu.Unlock()
		r.fill()
	}
}

// Release gives the room back to the disk.
func (r *Reserve) Release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release()
}

// release truncates the file, which takes no new block as removing it might. The lock is held.
func (r *Reserve) release() {
	if err := os.Truncate(r.path, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Warn("cannot release the reserve of disk space", "err", err)
	}
}

// fill takes the room, unless it has it, somebody needs it, or the disk has no more than that.
func (r *Reserve) fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if info, err := os.Stat(r.path); r.lent > 0 || err == nil && info.Size() >= r.size {
		return
	}
	var st syscall.Statfs_t
	if syscall.Statfs(filepath.Dir(r.path), &st) != nil || int64(st.Bavail)*st.Bsize < r.size+r.size/4 {
		return
	}
	if err := take(r.path, r.size); err != nil {
		r.log.Warn("cannot keep a reserve of disk space", "err", err)
		r.release()
	}
}

// take makes a file that really has its room.
func take(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		zeros := make([]byte, 1<<20)
		for at := int64(0); at < size; at += int64(len(zeros)) {
			if _, werr := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); werr != nil {
				return errors.Join(werr, f.Close())
			}
		}
		err = nil
	}
	return errors.Join(err, f.Close())
}

// Retry calls f, and once more with the reserve released where the disk was too full for it.
func (r *Reserve) Retry(f func() error) error {
	err := f()
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	r.Release()
	return f()
}
