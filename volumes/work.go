package volumes

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/task"
)

// Restore replaces all that a volume has by a backup. The app runs until the backup has arrived as a whole, and ends for as
// long as it takes to put it in place. It returns the revision that lets the app run again.
func (p *Provider) Restore(ctx context.Context, by cloud.Actor, ref cloud.AppRef, volume string, b *cloud.Backup, tell task.Tell) (cloud.Revision, error) {
	state := p.Store.State()
	if err := mayKeep(state, ref); err != nil {
		return 0, err
	}
	_, home, err := state.MustVolumes(ref, volume)
	if err != nil {
		return 0, err
	}
	if b.Volume == "" {
		return 0, cloud.Errorf(cloud.Invalid, "backup %s is of a service", b.ID)
	}
	if err := p.alive(home); err != nil {
		return 0, err
	}
	w := &cloud.VolumeWork{AppRef: ref, Volume: volume}
	if _, err := state.BeginVolumeWork(*w); err != nil {
		return 0, err
	}
	exchanging := false
	rev, err := p.work(ctx, by, "restore-volume", w, func(rev cloud.Revision) error {
		step := task.Begin(tell, p.Now, "restore", "restore volume "+volume+" of "+ref.String(), b.Data)
		err := step.Done(p.Archives.Read(ctx, b, func(r io.Reader) error { return p.Nodes.Receive(ctx, home, rev, w, volume, step.Read(r)) }))
		if err != nil {
			return err
		}
		if rev, err = p.halt(ctx, by, w); err != nil {
			return err
		}
		if err := p.awaitHalt(ctx, w, tell); err != nil {
			return err
		}
		exchanging = true
		return p.Nodes.Exchange(ctx, home, rev, w)
	})
	if err != nil && exchanging { // the answer may have been lost, or only the end of the work have failed
		return 0, cloud.Errorf(cloud.Unavailable, "volume %s of %s has all of the old data or all of the backup, and it is not known which: %w", volume, ref, err).
			WithCommand("micro volume list %s", ref)
	}
	if err != nil {
		return 0, cloud.Errorf(cloud.CodeOf(err), "volume %s of %s was not restored, and is as it was: %w", volume, ref, err)
	}
	return rev, nil
}

// Move moves all volumes of an app to another node. The app does not run meanwhile, and then runs there. It returns the
// revision of that.
func (p *Provider) Move(ctx context.Context, by cloud.Actor, ref cloud.AppRef, to cloud.NodeName, tell task.Tell) (cloud.Revision, error) {
	names, home, err := p.Store.State().MustVolumes(ref, "")
	if err != nil {
		return 0, err
	}
	if err := errors.Join(p.alive(home), p.alive(to)); err != nil {
		return 0, err
	}
	w := &cloud.VolumeWork{AppRef: ref, To: to}
	if _, err := p.Store.State().BeginVolumeWork(*w); err != nil {
		return 0, err
	}
	used, err := p.Nodes.Used(ctx, home, ref, names)
	if err != nil {
		return 0, err
	}
	rev, err := p.work(ctx, by, "move-volumes", w, func(rev cloud.Revision) error {
		if err := p.awaitHalt(ctx, w, tell); err != nil {
			return err
		}
		for _, name := range names {
			if _, made := used[name]; !made {
				continue // no instance has had it yet
			}
			if err := p.copy(ctx, home, rev, w, name, used[name], tell); err != nil {
				return err
			}
		}
		return p.Nodes.Exchange(ctx, to, rev, w)
	})
	if err != nil {
		return 0, cloud.Errorf(cloud.CodeOf(err), "the volumes of %s are on node %s as before: %w", ref, home, err)
	}
	// The new ones are whole, and the state says so. If this fails, the old ones take room until they are replaced or the app
	// is deleted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTimeout)
	defer cancel()
	if err := p.Nodes.Retire(ctx, home, w); err != nil {
		p.Log.Warn("cannot delete the volumes of an app that have moved", "app", ref.String(), "node", home, "err", err)
	}
	return rev, nil
}

// copy copies a volume from its node to the one that it moves to.
func (p *Provider) copy(ctx context.Context, from cloud.NodeName, rev cloud.Revision, w *cloud.VolumeWork, name string, size int64, tell task.Tell) error {
	step := task.Begin(tell, p.Now, "copy "+name, "copy volume "+name+" to node "+string(w.To), size)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, in := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := p.Nodes.Write(ctx, from, w.AppRef, name, step.Write(in))
		in.CloseWithError(err) // nil is the end of the archive
		written <- err
	}()
	err := p.Nodes.Receive(ctx, w.To, rev, w, name, out)
	if err != nil {
		cancel()
	}
	out.CloseWithError(io.ErrClosedPipe)
	if werr := <-written; werr != nil && (err == nil || !errors.Is(werr, context.Canceled) && !errors.Is(werr, io.ErrClosedPipe)) {
		err = werr
	}
	return step.Done(err)
}

// work writes a work, does it, and removes it again in the transaction that makes its result true.
func (p *Provider) work(ctx context.Context, by cloud.Actor, verb string, w *cloud.VolumeWork, do func(cloud.Revision) error) (cloud.Revision, error) {
	w.ID, w.Node, w.Process, w.At, w.By = strings.ToLower(rand.Text()), p.Node, p.Process, p.Now().UTC().Truncate(time.Millisecond), by.Name
	p.mark(w.ID, true)
	defer p.mark(w.ID, false)
	object := w.AppRef.String() + " " + w.Volume + string(w.To)
	s, err := p.Store.Update(ctx, by, verb, object, func(s *cloud.State) ([]cloud.Change, error) { return s.BeginVolumeWork(*w) })
	if err != nil {
		return 0, err
	}
	derr := do(s.Rev())
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTimeout)
	defer cancel()
	s, err = p.Store.Update(end, by, "end-"+verb, object, func(s *cloud.State) ([]cloud.Change, error) { return s.EndVolumeWork(w, derr == nil) })
	if derr != nil {
		return 0, derr // what is left of the work, TakeBack removes
	}
	if err != nil {
		return 0, err
	}
	return s.Rev(), nil
}

// takeBackTimeout is how long the end of a work may take although its caller has gone.
const takeBackTimeout = 30 * time.Second

// halt has the instances of an app end.
func (p *Provider) halt(ctx context.Context, by cloud.Actor, w *cloud.VolumeWork) (cloud.Revision, error) {
	s, err := p.Store.Update(ctx, by, "halt-app", w.AppRef.String(), func(s *cloud.State) ([]cloud.Change, error) { return s.HaltForWork(w) })
	if err != nil {
		return 0, err
	}
	return s.Rev(), nil
}

// awaitHalt waits until no instance of an app has its volumes.
func (p *Provider) awaitHalt(ctx context.Context, w *cloud.VolumeWork, tell task.Tell) error {
	step := task.Begin(tell, p.Now, "stop", "stop "+w.AppRef.String(), 0)
	v, err := p.Views.View(), error(nil)
	for err == nil {
		now, underWay := v.State.VolumeWork(w.AppRef)
		if v.State.Rev() >= p.Store.State().Rev() {
			if !underWay || now.ID != w.ID {
				err = cloud.Errorf(cloud.Conflict, "it was given up meanwhile")
				break
			}
			if now.Halts && !v.HasVolumes(w.AppRef) {
				break
			}
		}
		v, err = p.Views.Changed(ctx, v)
	}
	return step.Done(err)
}
