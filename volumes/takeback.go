package volumes

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
)

// mark notes that this process does a work, or no longer does.
func (p *Provider) mark(id string, doing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doing == nil {
		p.doing = map[string]bool{}
	}
	if doing {
		p.doing[id] = true
	} else {
		delete(p.doing, id)
	}
}

func (p *Provider) does(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doing[id]
}

// retry is the pause after a work could not be taken back, or what is left of works not be deleted.
const retry = 2 * time.Second

// Run takes back the works of this node that no process does any more, and deletes what is left here of works that are over.
func (p *Provider) Run(ctx context.Context) error {
	v, works := p.Views.View(), []string{"none was looked for yet"}
	for {
		err := p.takeBackOwn(ctx, v.State)
		if now := ids(v.State); !slices.Equal(now, works) && err == nil {
			if err = p.Folders.ClearWorks(p.underWay); err == nil {
				works = now
			}
		}
		if err != nil && ctx.Err() == nil {
			p.Log.Warn("cannot clear up after works on volumes yet", "err", err)
			select {
			case <-time.After(retry):
			case <-ctx.Done():
			}
		} else if v, err = p.Views.Changed(ctx, v); err != nil {
			return nil
		}
		v = p.Views.View()
	}
}

func (p *Provider) takeBackOwn(ctx context.Context, s *cloud.State) (err error) {
	for w := range s.VolumeWorks() {
		if w.Node == p.Node && !p.does(w.ID) {
			err = errors.Join(err, takeBack(ctx, writer{p.Store}, w))
		}
	}
	return err
}

func ids(s *cloud.State) (list []string) {
	for w := range s.VolumeWorks() {
		list = append(list, w.ID)
	}
	return list
}

// underWay reports whether the state has a work. A folder is made only when it does.
func (p *Provider) underWay(id string) bool {
	return slices.Contains(ids(p.Views.View().State), id)
}

// Writer changes the state in micro's own name.
type Writer interface {
	Write(ctx context.Context, verb, object string, change func(*cloud.State) ([]cloud.Change, error)) error
}

// writer writes to a store.
type writer struct{ Store }

func (w writer) Write(ctx context.Context, verb, object string, change func(*cloud.State) ([]cloud.Change, error)) error {
	_, err := w.Update(ctx, cloud.Actor{Name: "micro"}, verb, object, change)
	return err
}

// takeBack ends a work that nobody does any more: its app runs with the volumes that it has.
func takeBack(ctx context.Context, to Writer, w *cloud.VolumeWork) error {
	err := to.Write(ctx, "give-up-volume-work", w.AppRef.String(), func(s *cloud.State) ([]cloud.Change, error) { return s.EndVolumeWork(w, false) })
	if cloud.CodeOf(err) == cloud.Conflict {
		return nil // somebody else has ended it
	}
	return err
}

// Abandoned is the duty that takes back the works of nodes that are away.
type Abandoned struct {
	Views  Views
	Writer Writer
	Log    *slog.Logger
}

// Name implements leader.Duty.
func (*Abandoned) Name() string { return "works on volumes" }

// Run implements leader.Duty.
func (d *Abandoned) Run(ctx context.Context) error {
	v := d.Views.View()
	for {
		wait := cloud.Never
		for w := range v.State.VolumeWorks() {
			_, member := v.State.Node(w.Node)
			if status, ok := v.Instances.NodeStatus(w.Node); member && (!ok || status.Alive) {
				continue
			}
			if err := takeBack(ctx, d.Writer, w); err != nil && ctx.Err() == nil {
				d.Log.Error("cannot take back a work on volumes", "app", w.AppRef.String(), "err", err)
				wait = retry
			}
		}
		var err error
		if v, err = cloud.ChangedWithin(ctx, d.Views, v, wait); err != nil {
			return nil
		}
	}
}
