package services

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/task"
)

// Clone creates a service with the data that another one has now. It returns the new one's release.
func (p *Provider) Clone(ctx context.Context, by cloud.Actor, ref cloud.AppRef, name cloud.AppName, check Check, tell Tell) (cloud.ReleaseRef, error) {
	v := p.Views.View()
	service, kind, err := saved(v.State, ref)
	if err != nil {
		return cloud.ReleaseRef{}, err
	}
	if _, ok := instanceOf(v, service); !ok {
		return cloud.ReleaseRef{}, notReady(service)
	}
	made, err := p.another(ctx, by, service, kind, name, false, check)
	if err != nil {
		return made, err
	}
	err = p.fillClone(ctx, service, kind, made, tell)
	if err == nil {
		_, err = p.Store.Update(ctx, by, "clone-service", made.AppRef.String(), func(s *cloud.State) ([]cloud.Change, error) { return s.FinishService(made.AppRef) })
	}
	if err != nil {
		p.discard(ctx, by, made.AppRef)
		return made, cloud.Errorf(cloud.CodeOf(err), "service %s was not made: %w", made.AppRef, err)
	}
	return made, nil
}

// fillClone waits for a new service, and copies data from its source to it.
func (p *Provider) fillClone(ctx context.Context, source *cloud.App, kind *Kind, made cloud.ReleaseRef, tell Tell) error {
	target, err := p.awaitReady(ctx, made, tell)
	if err != nil {
		return err
	}
	t := task.Begin(tell, p.Now, "copy", fmt.Sprintf("copy %s to %s", source.AppRef, made.AppRef), 0)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out, in := io.Pipe()
	read := make(chan error, 1)
	go func() {
		err := causeOf(ctx, run(ctx, p.Commands, p.Views.View(), source, call{command: kind.Backup, out: sink{t, in, stop}}))
		in.CloseWithError(err) // nil is the end of the data
		read <- err
	}()
	err = p.restore(ctx, target, kind, out)
	out.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		stop(err)
	}
	if rerr := <-read; err == nil {
		err = rerr
	}
	return t.Done(err)
}

// another creates an unfinished service of the kind, version and size of a given one. One for a drill has no volume: its
// data goes with its instance.
func (p *Provider) another(ctx context.Context, by cloud.Actor, source *cloud.App, kind *Kind, name cloud.AppName, drill bool, check Check) (made cloud.ReleaseRef, err error) {
	ref := cloud.AppRef{Group: source.Group, App: name}
	if err := name.Validate(); err != nil {
		return made, err
	}
	_, rel, err := p.Store.State().MustRelease(source.Release(0))
	if err != nil {
		return made, err
	}
	size := rel.Formation[cloud.Web]
	n := cloud.NewService{
		App:   ref,
		Built: cloud.Built{Image: rel.Spec.Image},
		Spec:  kind.spec(api.NewService{Memory: size.Memory, CPU: size.CPU}, rand.Text()),
		Service: cloud.Service{
			Kind: kind.Name, Version: source.Service.Version, Variable: kind.Variable, Variables: kind.variables(), Production: source.Service.Production,
			Unfinished: &cloud.Unfinished{Of: source.App, Drill: drill, Node: p.Node, Process: p.Process},
		},
	}
	if drill {
		n.Spec.Volumes = nil
	}
	at := cloud.Stamp{At: p.Now().UTC().Truncate(time.Millisecond), By: by.Name}
	_, err = p.Store.Update(ctx, by, "create-service", ref.String(), func(s *cloud.State) (changes []cloud.Change, err error) {
		if changes, made, err = s.CreateService(n, at); err != nil {
			return nil, err
		}
		return changes, check(s, changes)
	})
	return made, err
}

// awaitReady waits until a service accepts a log-in.
func (p *Provider) awaitReady(ctx context.Context, made cloud.ReleaseRef, tell Tell) (service *cloud.App, err error) {
	t := task.Begin(tell, p.Now, "start", "start "+made.AppRef.String(), 0)
	v := p.Views.View()
	for {
		var rel *cloud.Release
		if v.State.Rev() >= p.Store.State().Rev() {
			if service, rel, err = v.State.MustRelease(made); err != nil {
				break
			}
			if rel.Failure != nil {
				err = cloud.Errorf(cloud.DeployFailed, "%s does not start: %s", made.AppRef, strings.TrimSpace(rel.Failure.Reason))
				break
			}
			if _, ok := instanceOf(v, service); ok {
				break
			}
		}
		if v, err = p.Views.Changed(ctx, v); err != nil {
			break
		}
	}
	return service, t.Done(err)
}

// discardTimeout is how long removing an unfinished service may take although its caller has gone.
const discardTimeout = 30 * time.Second

// discard removes an unfinished service. If that fails, Abandoned finds it later.
func (p *Provider) discard(ctx context.Context, by cloud.Actor, ref cloud.AppRef) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
	defer cancel()
	if err := discard(ctx, writerAs{p.Store, by}, p.Volumes, ref); err != nil {
		p.Log.Error("cannot remove an unfinished service", "service", ref.String(), "err", err)
	}
}

// writerAs changes the state in somebody's name.
type writerAs struct {
	store Store
	by    cloud.Actor
}

func (w writerAs) Write(ctx context.Context, verb, object string, change func(*cloud.State) ([]cloud.Change, error)) error {
	_, err := w.store.Update(ctx, w.by, verb, object, change)
	return err
}

// discard removes an unfinished service with its volumes.
func discard(ctx context.Context, w Writer, volumes Volumes, ref cloud.AppRef) error {
	gone := false
	err := w.Write(ctx, "discard-service", ref.String(), func(s *cloud.State) ([]cloud.Change, error) {
		changes := s.DiscardService(ref)
		gone = len(changes) > 0
		return changes, nil
	})
	if err != nil || !gone {
		return err
	}
	return volumes.Drop(ctx, ref)
}

// DiscardOwn removes the unfinished services that earlier processes of this node have left.
func (p *Provider) DiscardOwn(ctx context.Context) error {
	for app := range p.Store.State().Services("") {
		if u := app.Service.Unfinished; u != nil && u.Node == p.Node && u.Process != p.Process {
			if err := discard(ctx, writerAs{p.Store, cloud.Actor{Name: "micro"}}, p.Volumes, app.AppRef); err != nil {
				return err
			}
		}
	}
	return nil
}

// Abandoned returns the unfinished services whose node has gone.
func Abandoned(v cloud.View) (refs []cloud.AppRef) {
	for app := range v.State.Services("") {
		u := app.Service.Unfinished
		if u == nil {
			continue
		}
		_, known := v.State.Node(u.Node)
		if status, ok := v.Instances.NodeStatus(u.Node); !known || ok && !status.Alive {
			refs = append(refs, app.AppRef)
		}
	}
	return refs
}
