package runtime

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Where the file system keeps limits on folders, it is told the disk quota of each instance, and refuses what is
// more. Elsewhere the agent measures what instances have written, and replaces one that has more.
const (
	// measureEvery is how often an instance with a disk quota is measured. That takes reading all of its folders.
	measureEvery = 15 * time.Second
	// growthEvery is how often the agent looks whether the disk fills up fast.
	growthEvery = time.Second
	// growth is how many bytes or files more on the disk make the agent measure at once.
	growthBytes = 64 << 20
	growthFiles = 5000
	// leisure is how many times as long as measuring an instance took it is left alone after that.
	leisure = 10
)

// Files are limited too, for a disk has room for so many: one for each quotaPerFile bytes of the quota, which is a
// quarter of what ext4 makes room for, but never less than minFiles.
const (
	quotaPerFile = 4 << 10
	minFiles     = 1000
)

// diskLimit returns the limit on an instance's own files that a disk quota means; 0 is none.
func diskLimit(quota int64) Usage {
	if quota == 0 {
		return Usage{}
	}
	return Usage{Bytes: quota, Files: max(minFiles, quota/quotaPerFile)}
}

// overQuota says whether the instance's own files take more than it may have now, and how much that is.
func (w *worker) overQuota(ctx context.Context) (reason string, over bool) {
	rel, ok := w.Views.View().State.Release(w.i.ReleaseRef)
	if !ok {
		return "", false
	}
	limit := diskLimit(rel.Formation[w.i.Process].Disk)
	if w.disk.limit != limit || !w.disk.known {
		kept, err := w.Driver.LimitDisk(ctx, string(w.i.ID), limit)
		if err != nil {
			w.unmeasured(ctx, err)
			return "", false
		}
		w.disk.limit, w.disk.kept, w.disk.known = limit, kept, true
	}
	if limit == (Usage{}) || w.disk.kept || w.Now().Before(w.disk.next) {
		return "", false
	}
	w.measure.Lock() // one at a time: the disk is for the apps
	defer w.measure.Unlock()
	begin := w.Now()
	written, err := w.Driver.Written(ctx, string(w.i.ID))
	w.disk.next = w.Now().Add(leisure * w.Now().Sub(begin))
	if err != nil {
		w.unmeasured(ctx, err)
		return "", false
	}
	quota := cloud.FormatSize(limit.Bytes)
	switch {
	case written.Bytes > limit.Bytes:
		whole := (written.Bytes + 1<<20 - 1) &^ (1<<20 - 1)
		return fmt.Sprintf("has %s of files of its own: its disk quota is %s", cloud.FormatSize(whole), quota), true
	case written.Files > limit.Files:
		return fmt.Sprintf("has %d files of its own: its disk quota of %s allows %d", written.Files, quota, limit.Files), true
	}
	return "", false
}

func (w *worker) unmeasured(ctx context.Context, err error) {
	if ctx.Err() == nil {
		w.log.Warn("cannot measure the instance's files", "err", err)
	}
}

// diskQuota is what a worker knows of its instance's disk quota.
type diskQuota struct {
	limit Usage
	known bool      // the driver was told the limit
	kept  bool      // by the file system
	next  time.Time // not to be measured before
}

// growth tells workers that the disk fills up fast.
type growth struct {
	mu   sync.Mutex // guards seen
	seen chan struct{}
}

// next returns a channel that is closed when the disk next has filled up by much.
func (g *growth) next() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen
}

func (g *growth) tell() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.seen)
	g.seen = make(chan struct{})
}

// watchDisk has all workers measure when the disk fills up fast, until ctx ends.
func (a *Agent) watchDisk(ctx context.Context) {
	tick := time.NewTicker(growthEvery)
	defer tick.Stop()
	var last Usage
	known := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		used, err := a.Driver.DiskUsed(ctx)
		if err != nil {
			continue // each is measured at its interval all the same
		}
		if known && (used.Bytes >= last.Bytes+growthBytes || used.Files >= last.Files+growthFiles) {
			a.growth.tell()
			last = used
		}
		if !known {
			last, known = used, true
		}
		last = Usage{Bytes: min(last.Bytes, used.Bytes), Files: min(last.Files, used.Files)}
	}
}
