package runtime

import (
	"context"
	"errors"
	"fmt"
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
	if _, ok := errors.AsType[missingImage](err); ok || errors.Is(err, ErrNoLease) {
		return true
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return cloud.Shortage(err)
	}
	text := err.Error()
	return slices.ContainsFunc(shortageTexts, func(e syscall.Errno) bool { return strings.HasSuffix(text, e.Error()) })
}

// missingImage is the error of an image that could not be fetched from another node.
type missingImage struct{ error }

func (m missingImage) Unwrap() error { return m.error }

// image returns the image of the instance's release.
func (w *worker) image(ctx context.Context) (Image, error) {
	rel, ok := w.Views.View().State.Release(w.i.ReleaseRef)
	if !ok {
		return Image{}, fmt.Errorf("release %s no longer exists", w.i.ReleaseRef)
	}
	image, err := w.Images.Get(ctx, rel.Spec.Image.Digest)
	if cloud.CodeOf(err) == cloud.Unavailable {
		return image, missingImage{err}
	}
	return image, err
}

// startAgain is the pause before another attempt to start an instance after a shortage.
const startAgain = 5 * time.Second

// startWithRetry starts the container, and tries again as long as the machine lacks a resource or the image, which is
// never the app's fault. It returns any other error, or when ctx ends.
func (w *worker) startWithRetry(ctx context.Context) (Running, error) {
	for {
		r, err := w.startInTurn(ctx)
		if !shortage(err) {
			return r, err
		}
		w.log.Warn("cannot start an instance yet", "err", err)
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
	// Get the image before taking a turn, because it may have to come from another node.
	image, err := w.image(ctx)
	if err != nil {
		return Running{}, err
	}
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return Running{}, ctx.Err()
	}
	defer func() { <-w.slots }()
	return w.create(ctx, image)
}
