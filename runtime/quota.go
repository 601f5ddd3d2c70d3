package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/protoduction/micro/cloud"
)

// measureEvery is how often it is looked at what an instance with a disk quota has written. That takes
// reading all of its folders, and what writes faster than this finds its end a little later.
const measureEvery = 15 * time.Second

// overQuota says whether the instance's own files take more than it may have now, and how much that is.
// A limit that the file system keeps would be better; few have one for a folder.
func (w *worker) overQuota(ctx context.Context) (reason string, over bool) {
	rel, ok := w.Views.View().State.Release(w.i.ReleaseRef)
	if !ok {
		return "", false
	}
	quota := rel.Formation[w.i.Process].Disk
	if quota == 0 {
		return "", false
	}
	w.measure.Lock() // one at a time: the disk is for the apps
	defer w.measure.Unlock()
	written, err := w.Driver.Written(ctx, string(w.i.ID))
	if err != nil {
		if ctx.Err() == nil {
			w.log.Warn("cannot measure the instance's files", "err", err)
		}
		return "", false
	}
	whole := (written + 1<<20 - 1) &^ (1<<20 - 1)
	return fmt.Sprintf("has %s of files of its own: its disk quota is %s", cloud.FormatSize(whole), cloud.FormatSize(quota)), written > quota
}
