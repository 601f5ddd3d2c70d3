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

// shortageTexts are errors that are recognised by their text, because an error from another process, such as a shim,
// has only its text. ENOMEM and EAGAIN are not among them: a container gets them from its own limits too.
var shortageTexts = []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.EROFS}

// shortage reports whether an error was caused by the machine or by micro itself, not by the app. It also recognises
// errors that come from another process.
func shortage(err error) bool {
	if err == nil {
		return false
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return cloud.Shortage(err)
	}
	text := err.Error()
	return slices.ContainsFunc(shortageTexts, func(e syscall.Errno) bool { return strings.HasSuffix(text, e.Error()) })
}

// startAgain is the pause before another attempt to start an instance after a shortage.
const startAgain = 5 * time.Second

// startWithRetry starts the container, and tries again as long as the machine lacks a resource, which is never the
// app's fault. It returns any other error, or when ctx ends.
func (w *worker) startWithRetry(ctx context.Context) (Running, error) {
	for {
		r, err := w.startInTurn(ctx)
		if !shortage(err) {
			return r, err
		}
		w.log.Warn("cannot start an instance: the machine lacks a resource", "err", err)
		w.i.Shortage = true
		w.setPhase(cloud.InstanceStarting, "can't be started yet: "+err.Error())
		select {
		case <-time.After(startAgain):
		case <-ctx.Done():
			return Running{}, ctx.Err()
		}
		// Remains of the failed start would make the next one fail.
		if err := w.Driver.Remove(ctx, string(w.i.ID)); err != nil {
			w.log.Warn("cannot remove the remains of a failed start", "err", err)
		}
		w.i.Shortage = false
	}
}

// startInTurn starts the container when fewer than startsAtOnce others are starting.
func (w *worker) startInTurn(ctx context.Context) (Running, error) {
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return Running{}, ctx.Err()
	}
	defer func() { <-w.slots }()
	return w.create(ctx)
}
