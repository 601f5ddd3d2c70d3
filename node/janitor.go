package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

const (
	// clearEvery is how often the janitor looks although nothing has happened.
	clearEvery = time.Hour
	// clearAfter is how long after a change he does: images that are younger than ten seconds are left alone.
	clearAfter = 15 * time.Second
	// backupEvery is how often the store is copied.
	backupEvery = 24 * time.Hour
)

// janitor gives back what nothing needs any more: images that no release can go back to, the logs and
// volumes of apps that are gone. He goes by what is there and by the state alone, so what a kill cut off
// is done the next time.
func (n *Node) janitor(ctx context.Context) error {
	view := n.snapshots.View()
	due, copied := time.Now().Add(clearAfter), time.Time{}
	var kept map[string]bool // images when some were last given back
	for {
		waiting, cancel := context.WithDeadline(ctx, due)
		now, err := n.snapshots.Changed(waiting, view)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			if soon := time.Now().Add(clearAfter); now.State != view.State && soon.Before(due) {
				due = soon
			}
			view = now
			continue
		}
		if time.Since(copied) >= backupEvery {
			copied = time.Now()
			if _, err := n.db.Backup(""); err != nil {
				n.log.Error("the store is not backed up", "err", err)
			}
		}
		due = time.Now().Add(clearEvery)
		keep, later, err := n.clear(ctx, view, kept)
		if err != nil {
			n.log.Warn("not all could be given back that nothing needs", "err", err)
		} else {
			kept = keep
		}
		if later {
			due = time.Now().Add(clearAfter)
		}
	}
}

// clear gives back what nothing needs. kept are the images that were needed the last time; nil has all
// looked through. later is true where something must wait for what is under way.
func (n *Node) clear(ctx context.Context, v cloud.View, kept map[string]bool) (keep map[string]bool, later bool, err error) {
	logs, err := n.clearLogs(v)
	volumes, verr := n.clearVolumes(v)
	err = errors.Join(err, verr)
	keep, gerr := n.giveUpImages(ctx)
	if gerr != nil {
		return nil, true, errors.Join(err, gerr)
	}
	fewer := kept == nil
	for digest := range kept {
		fewer = fewer || !keep[digest]
	}
	switch {
	case !fewer:
	case n.api.Writing():
		return kept, true, err
	default:
		_, perr := n.images.Prune(ctx, keep)
		err = errors.Join(err, perr)
	}
	return keep, logs || volumes, err
}

// giveUpImages writes down which releases need theirs no more, and returns the images that are needed.
func (n *Node) giveUpImages(ctx context.Context) (map[string]bool, error) {
	state := n.store.State()
	if len(state.Prune()) > 0 {
		var err error
		state, err = n.store.Update(ctx, cloud.Actor{Name: "micro", Source: "janitor"}, "prune", "releases", func(s *cloud.State) ([]cloud.Change, error) {
			return s.Prune(), nil
		})
		if err != nil {
			return nil, err
		}
	}
	return state.Images(), nil
}

// clearLogs removes the logs of apps that are no more, once their last instances have ended.
func (n *Node) clearLogs(v cloud.View) (later bool, err error) {
	folders, err := filepath.Glob(n.data.path("logs", "*", "*"))
	for _, folder := range folders {
		app := cloud.AppRef{Group: cloud.GroupName(filepath.Base(filepath.Dir(folder))), App: cloud.AppName(filepath.Base(folder))}
		info, serr := os.Lstat(folder)
		if _, there := v.State.App(app); there || serr != nil || !info.IsDir() {
			continue
		}
		if used(v, app) {
			later = true
			continue
		}
		err = errors.Join(err, n.logs.Drop(app))
	}
	return later, err
}

// Prune implements the API's handler.Node: images go that no release can be rolled back to, and what
// builds keep for speed.
func (n *Node) Prune(ctx context.Context) (api.Pruned, error) {
	if n.api.Writing() {
		return api.Pruned{}, cloud.Errorf(cloud.Conflict, "a push is about to write its release").WithHint("micro prune, in a moment")
	}
	keep, err := n.giveUpImages(ctx)
	if err != nil {
		return api.Pruned{}, err
	}
	images, err := n.images.Prune(ctx, keep)
	if err != nil {
		return api.Pruned{}, err
	}
	cache, err := n.builder.Prune(ctx)
	return api.Pruned{Bytes: images + cache}, err
}
