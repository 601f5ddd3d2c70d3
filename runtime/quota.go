package runtime

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// If the file system has project quotas, it enforces the disk quota of each instance. Otherwise the agent measures
// the files of instances, and replaces an instance that exceeds its quota.
const (
	// measureEvery is how often an instance with a disk quota is measured, which reads all of its folders.
	measureEvery = 15 * time.Second
	// growthEvery is how often the agent checks whether the disk fills up fast.
	growthEvery = time.Second
	// growthBytes and growthFiles are how much the disk's usage must grow for the agent to measure at once.
	growthBytes = 64 << 20
	growthFiles = 5000
	// leisure is the pause after measuring an instance, as a multiple of the time that measuring took.
	leisure = 10
)

// The number of files is limited too, because a disk has a limited number of inodes: to one per quotaPerFile bytes of
// the quota, but at least minFiles. ext4 has one inode per 16 KiB by default.
const (
	quotaPerFile = 4 << 10
	minFiles     = 1000
)

// diskLimit returns the limit on an instance's own files for a disk quota; 0 is unlimited.
func diskLimit(quota int64) Usage {
	if quota == 0 {
		return Usage{}
	}
	return Usage{Bytes: quota, Files: max(minFiles, quota/quotaPerFile)}
}

// overQuota reports whether the instance's own files exceed its current quota, with the reason for users.
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
	w.measure.Lock() // one at a time, to leave the disk to the apps
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

// diskQuota is the state of an instance's disk quota.
type diskQuota struct {
	limit Usage
	known bool      // the driver has the limit
	kept  bool      // the file system enforces the limit
	next  time.Time // don't measure before this time
}

// growth notifies workers when the disk fills up fast.
type growth struct {
	mu   sync.Mutex // guards seen
	seen chan struct{}
}

// next returns a channel that is closed when the disk has filled up by much.
func (g *growth) next() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen
}

func (g *growth) notify() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.seen)
	g.seen = make(chan struct{})
}

// watchDisk makes all workers measure their instances when the disk fills up fast, until ctx ends.
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
			continue // instances are still measured at their interval
		}
		if known && (used.Bytes >= last.Bytes+growthBytes || used.Files >= last.Files+growthFiles) {
			a.growth.notify()
			last = used
		}
		if !known {
			last, known = used, true
		}
		last = Usage{Bytes: min(last.Bytes, used.Bytes), Files: min(last.Files, used.Files)}
	}
}
