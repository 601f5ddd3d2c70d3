package runtime

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/protoduction/micro/cloud"
)

// told are shortages whose text is proof enough: an error from another process, such as a shim, has nothing else.
// ENOMEM and EAGAIN are none of them, which a container has within its own limits too.
var told = []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.EROFS}

// shortage says whether an error is one of the machine or of micro itself, also where another process tells it.
func shortage(err error) bool {
	if err == nil {
		return false
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return cloud.Shortage(err)
	}
	text := err.Error()
	return slices.ContainsFunc(told, func(e syscall.Errno) bool { return strings.HasSuffix(text, e.Error()) })
}

// startAgain is the pause before the next try to start an instance that the machine lacked something for.
const startAgain = 5 * time.Second

// persist makes the container, and tries again for as long as the machine lacks something: that is never a crash of
// the app's. It ends with an error of another kind, or when ctx does.
func (w *worker) persist(ctx context.Context) (Running, error) {
	for {
		r, err := w.take(ctx)
		if !shortage(err) {
			return r, err
		}
		w.log.Warn("cannot start an instance: the machine lacks something", "err", err)
		w.i.Shortage = true
		w.show(cloud.InstanceStarting, "can't be started yet: "+err.Error())
		select {
		case <-time.After(startAgain):
		case <-ctx.Done():
			return Running{}, ctx.Err()
		}
		// What the failed start could not take away with it is in the next one's way.
		if err := w.Driver.Remove(ctx, string(w.i.ID)); err != nil {
			w.log.Warn("cannot take away what a failed start has left", "err", err)
		}
		w.i.Shortage = false
	}
}

// take makes the container when it is the instance's turn.
func (w *worker) take(ctx context.Context) (Running, error) {
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return Running{}, ctx.Err()
	}
	defer func() { <-w.slots }()
	return w.create(ctx)
}
