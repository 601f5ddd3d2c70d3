package deploy

import (
	"context"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// makeRelease makes the image of a push and writes its release.
func (d *Deployer) makeRelease(p *push) (cloud.ReleaseRef, error) {
	image, err := d.makeImage(p)
	if err != nil {
		return cloud.ReleaseRef{}, err
	}
	release := d.images.hold(image.Digest)
	defer release()
	return d.writeRelease(p, image)
}

// writeRelease writes the release of a push, unless a newer push of the app has written its own already.
// Older pushes of the app end.
func (d *Deployer) writeRelease(p *push, image runtime.Image) (cloud.ReleaseRef, error) {
	d.commit.Lock()
	defer d.commit.Unlock()
	if err := context.Cause(p.ctx); err != nil {
		return cloud.ReleaseRef{}, err
	}
	if newer := d.newerRelease(p); newer != nil {
		return *newer, errSuperseded(*newer)
	}
	want := cloud.Push{
		App: p.app, Spec: p.request.Spec, Stage: p.request.Stage, ID: p.id,
		Built: cloud.Built{Image: cloud.Image{Digest: image.Digest, Name: p.source()}, Ports: image.Ports},
	}
	at := cloud.Stamp{At: d.cfg.Now().UTC().Truncate(time.Millisecond), By: p.by.Name}
	var ref cloud.ReleaseRef
	_, err := d.cfg.Store.Update(p.ctx, p.by, "push", p.app.String(), func(st *cloud.State) (changes []cloud.Change, err error) {
		changes, ref, err = st.Push(want, at)
		return changes, err
	})
	if err != nil {
		return ref, err
	}
	if err := d.logs.keep(p.buildLogPath(), ref); err != nil {
		d.log.Warn("the build's output is not kept", "app", p.app.String(), "release", ref.N, "err", err)
	}
	p.setRelease(ref.N)
	if rel, ok := d.cfg.Store.State().Release(ref); ok {
		for _, note := range notesOn(rel, image.Volumes) {
			p.events.add(api.PushEvent{Note: note})
		}
	}
	for _, other := range d.rivals(p) {
		if other.seq < p.seq && !other.hasEnded() {
			other.cancel(errSuperseded(ref))
		}
	}
	return ref, nil
}

func errSuperseded(ref cloud.ReleaseRef) error {
	return cloud.Errorf(cloud.Conflict, "superseded by r%d, a newer push of %s", ref.N, ref.AppRef).WithCommand("micro releases %s", ref.AppRef)
}

// rivals returns the other pushes of the app. Pushes that stage a release and pushes that make it current
// don't compete with each other.
func (d *Deployer) rivals(p *push) []*push {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []*push
	for _, other := range d.byID {
		if other != p && !other.found && other.app == p.app && other.request.Stage == p.request.Stage {
			out = append(out, other)
		}
	}
	return out
}

// newerRelease returns the release of a push of the app that was created after p; nil where there is none.
func (d *Deployer) newerRelease(p *push) *cloud.ReleaseRef {
	for _, other := range d.rivals(p) {
		if ref, made := other.releaseRef(); made && other.seq > p.seq {
			return &ref
		}
	}
	return nil
}

// Cancel ends a push, as long as its release is not up: the app is as it was before.
func (d *Deployer) Cancel(ctx context.Context, id string, by cloud.Actor) (api.Push, error) {
	p, err := d.find(id)
	if err != nil {
		return api.Push{}, err
	}
	if err := d.cancel(ctx, p, by); err != nil {
		return api.Push{}, err
	}
	return p.show(), nil
}

func (d *Deployer) cancel(ctx context.Context, p *push, by cloud.Actor) error {
	d.commit.Lock()
	defer d.commit.Unlock()
	if p.hasEnded() {
		return cloud.Errorf(cloud.Conflict, "the push has ended already")
	}
	if ref, made := p.releaseRef(); made {
		_, err := d.cfg.Store.Update(ctx, by, "cancel", ref.String(), func(st *cloud.State) ([]cloud.Change, error) {
			app, rel, err := st.MustRelease(ref)
			if err != nil {
				return nil, err
			}
			if app.Current == ref.N || rel.Up {
				return nil, cloud.Errorf(cloud.Conflict, "release %s is up already", ref).WithCommand("micro rollback %s", ref.AppRef)
			}
			return st.Fail(ref, cloud.Failure{At: d.cfg.Now().UTC(), Reason: "cancelled by " + by.Name, Hint: "push again"}), nil
		})
		if err != nil {
			return err
		}
	}
	p.cancel(cloud.Errorf(cloud.Interrupted, "cancelled by %s", by.Name))
	return nil
}
