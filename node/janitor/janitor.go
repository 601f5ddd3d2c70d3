package janitor

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/protoduction/micro/cloud"
)

type views interface {
	View() cloud.View
	Changed(ctx context.Context, old cloud.View) (cloud.View, error)
}

// stored returns the state in the store; that of a view may be older.
type stored interface {
	State() *cloud.State
}

type images interface {
	// Prune removes all images but those to keep, and returns how many bytes that freed.
	Prune(ctx context.Context, keep func() map[string]bool) error
}

type logs interface {
	Drop(app cloud.AppRef) error
}

type volumes interface {
	// Clear deletes dropped volumes; later is true if some are still in use.
	Clear(inUse func(cloud.AppRef) bool) (later bool, err error)
}

// Config has what the janitor needs.
type Config struct {
	Views   views
	Store   stored
	Images  images
	Logs    logs
	LogDir  string // has a folder GROUP/APP for each app with logs
	Volumes volumes
	// Held returns the images that running pushes need before a release has them.
	Held func() []string
	Log  *slog.Logger
}

// Janitor frees disk space.
type Janitor struct {
	Config
	kept map[string]bool // images that were needed at the last run; nil before the first
}

// New returns a janitor.
func New(cfg Config) *Janitor { return &Janitor{Config: cfg} }

const (
	// clearEvery is how often the janitor runs if nothing has changed.
	clearEvery = time.Hour
	// clearAfter is how long after a change it runs. Images younger than ten seconds are not removed.
	clearAfter = 15 * time.Second
)

// Run frees disk space until ctx ends.
func (j *Janitor) Run(ctx context.Context) error {
	view := j.Views.View()
	due := time.Now().Add(clearAfter)
	for {
		waiting, cancel := context.WithDeadline(ctx, due)
		next, err := j.Views.Changed(waiting, view)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			if soon := time.Now().Add(clearAfter); next.State != view.State && soon.Before(due) {
				due = soon
			}
			view = next
			continue
		}
		due = time.Now().Add(clearEvery)
		later, err := j.clear(ctx, view)
		if err != nil {
			j.Log.Warn("cannot free all unused disk space", "err", err)
		}
		if later {
			due = time.Now().Add(clearAfter)
		}
	}
}

// clear frees unused disk space. later is true if something is still in use and must be removed later.
func (j *Janitor) clear(ctx context.Context, v cloud.View) (later bool, err error) {
	inUse := func(app cloud.AppRef) bool {
		for range v.Instances.OfApp(app) {
			return true
		}
		return false
	}
	logs, lerr := j.clearLogs(v, inUse)
	volumes, verr := j.Volumes.Clear(inUse)
	ierr := j.clearImages(ctx)
	return logs || volumes, errors.Join(lerr, verr, ierr)
}

// clearImages removes unused images, if an image that was needed the last time no longer is.
func (j *Janitor) clearImages(ctx context.Context) error {
	keep := j.neededImages()
	fewer := j.kept == nil
	for digest := range j.kept {
		fewer = fewer || !keep[digest]
	}
	if fewer {
		if err := j.Images.Prune(ctx, j.neededImages); err != nil {
			return err
		}
	}
	j.kept = keep
	return nil
}

// neededImages returns the images that releases or pushes need. It reads the State last: a push releases its image after
// it has written its release, so that no image is missed.
func (j *Janitor) neededImages() map[string]bool {
	held := j.Held()
	needed := j.Store.State().Images()
	for _, digest := range held {
		needed[digest] = true
	}
	return needed
}

// Prune removes all images that no release or push needs.
func (j *Janitor) Prune(ctx context.Context) error {
	return j.Images.Prune(ctx, j.neededImages)
}

// clearLogs removes the logs of deleted apps whose last instances have ended.
func (j *Janitor) clearLogs(v cloud.View, inUse func(cloud.AppRef) bool) (later bool, err error) {
	folders, err := filepath.Glob(filepath.Join(j.LogDir, "*", "*"))
	for _, folder := range folders {
		app := cloud.AppRef{Group: cloud.GroupName(filepath.Base(filepath.Dir(folder))), App: cloud.AppName(filepath.Base(folder))}
		info, serr := os.Lstat(folder)
		if _, exists := v.State.App(app); exists || serr != nil || !info.IsDir() {
			continue
		}
		if inUse(app) {
			later = true
			continue
		}
		err = errors.Join(err, j.Logs.Drop(app))
	}
	return later, err
}
