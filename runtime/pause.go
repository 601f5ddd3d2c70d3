package runtime

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/protoduction/micro/cloud"
)

// pauses keeps what is done with an app's containers apart from the time in which they are paused.
type pauses struct {
	mu   sync.Mutex
	apps map[cloud.AppRef]*sync.RWMutex
}

// of returns the lock of an app: held for reading while something is done with one of its containers, and for writing while
// they are paused.
func (p *pauses) of(app cloud.AppRef) *sync.RWMutex {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.apps == nil {
		p.apps = map[cloud.AppRef]*sync.RWMutex{}
	}
	if p.apps[app] == nil {
		p.apps[app] = new(sync.RWMutex)
	}
	return p.apps[app]
}

// unpaused keeps the app's containers from being paused until the caller calls what it returns. It waits while they are.
func (p *pauses) unpaused(app cloud.AppRef) (end func()) {
	lock := p.of(app)
	lock.RLock()
	return lock.RUnlock
}

// Pause calls use while all processes of an app on this node are paused, those of single commands too: none starts, ends or
// is checked meanwhile. use gets the number of containers. ctx ends before the node does.
func (a *Agent) Pause(ctx context.Context, app cloud.AppRef, use func(ctx context.Context, paused int) error) (err error) {
	lock := a.pauses.of(app)
	lock.Lock()
	defer lock.Unlock()
	all, err := a.Driver.List(ctx)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(r Running) bool {
		return r.Exit != nil || AppOf(r.Labels) != string(app.Group)+"/"+string(app.App)
	})
	for _, r := range all {
		err := a.Driver.Pause(ctx, r.ID)
		defer func() {
			if e := a.Driver.Resume(context.WithoutCancel(ctx), r.ID); e != nil && cloud.CodeOf(e) != cloud.Unavailable && cloud.CodeOf(e) != cloud.NotFound {
				a.Log.Error("cannot let an instance run again after a pause", "instance", r.ID, "err", e)
			}
		}()
		if code := cloud.CodeOf(err); err != nil && code != cloud.Unavailable && code != cloud.NotFound { // it has ended
			return err
		}
	}
	return errors.Join(use(ctx, len(all)), ctx.Err())
}

// Unpaused waits until the app of an instance is not paused.
func (a *Agent) Unpaused(id cloud.InstanceID) {
	if i, ok := a.Views.View().Instances.Get(id); ok {
		a.pauses.unpaused(i.AppRef)()
	}
}
