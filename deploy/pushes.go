package deploy

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

const (
	// maxPushes bounds how many pushes are under way; those that wait for their upload count.
	maxPushes = 64
	// maxPushesPerGroup bounds how many of them are of one group.
	maxPushesPerGroup = 16
	// keepEnded is how long a push can be asked for after its end. Its release tells the rest.
	keepEnded = 5 * time.Minute
)

// Create begins a push. An error reports everything that is wrong with the request; nothing has changed
// then. The answer says whether it is worth listing the folder's files before they are uploaded.
func (d *Deployer) Create(app cloud.AppRef, r api.PushRequest, by cloud.Actor) (api.Push, error) {
	if err := checkRequest(d.cfg.Store.State(), app, r); err != nil {
		return api.Push{}, err
	}
	p, err := d.start(&push{
		id: strings.ToLower(rand.Text()), app: app, request: r, by: by, created: d.cfg.Now().UTC(), phase: api.PushUploading,
	})
	if err != nil {
		return api.Push{}, err
	}
	if note := gapNotice(d.cfg.Store.State(), app, r); note != "" {
		p.events.add(api.PushEvent{Note: note})
	}
	shown := p.show()
	shown.Kept = r.Source != nil && d.sources.has(app)
	return shown, nil
}

// Push describes a push, also one that an earlier process began and that has made its release.
func (d *Deployer) Push(id string) (api.Push, error) {
	p, err := d.find(id)
	if err != nil {
		return api.Push{}, err
	}
	return p.show(), nil
}

// Events yields what happens to a push, from event number from on. The last event has the outcome or the
// failure. Of a push that an earlier process began all events are yielded, because its numbers start anew.
func (d *Deployer) Events(ctx context.Context, id string, from int) (iter.Seq2[api.PushEvent, error], error) {
	p, err := d.find(id)
	if err != nil {
		return nil, err
	}
	if p.found {
		from = 1
	}
	return func(yield func(api.PushEvent, error) bool) { p.events.read(ctx, from, yield) }, nil
}

// start adds a push and runs it, unless a push with its ID has been added already.
func (d *Deployer) start(p *push) (*push, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life.Err() != nil {
		return nil, errStopping
	}
	if known, ok := d.byID[p.id]; ok {
		return known, nil
	}
	d.forgetEnded()
	if err := d.checkSlots(p.app.Group); err != nil {
		return nil, err
	}
	d.seq++
	p.seq, p.dir, p.events = d.seq, filepath.Join(d.dir, p.id), newEventBuffer()
	p.uploaded = make(chan struct{})
	p.ctx, p.cancel = context.WithCancelCause(d.life)
	if !p.found {
		if err := os.Mkdir(p.dir, 0o700); err != nil {
			p.cancel(nil)
			return nil, fmt.Errorf("begin a push: %w", err)
		}
	}
	d.byID[p.id] = p
	d.running.Go(func() { d.run(p) })
	return p, nil
}

// forgetEnded drops the pushes that ended some time ago. The lock is held.
func (d *Deployer) forgetEnded() {
	limit := d.cfg.Now().Add(-keepEnded)
	for id, p := range d.byID {
		if p.endedBefore(limit) {
			delete(d.byID, id)
		}
	}
}

// checkSlots reports that no more pushes are admitted. The lock is held.
func (d *Deployer) checkSlots(group cloud.GroupName) error {
	all, ofGroup := 0, 0
	for _, p := range d.byID {
		if p.hasEnded() {
			continue
		}
		if all++; p.app.Group == group {
			ofGroup++
		}
	}
	if all >= maxPushes {
		return cloud.Errorf(cloud.Unavailable, "%d pushes are under way, which is the limit", all).WithHint("try again in a minute")
	}
	if ofGroup >= maxPushesPerGroup {
		return cloud.Errorf(cloud.Unavailable, "%d pushes are under way in group %s, which is the limit", ofGroup, group).WithCommand("micro pushes")
	}
	return nil
}

// Pushes returns the pushes of a group that are under way, and those that ended a short time ago, in the
// order in which they were created. Pushes that an earlier process began are among them as long as their
// release starts.
func (d *Deployer) Pushes(group cloud.GroupName) []api.Push {
	s := d.cfg.Store.State()
	for app := range s.Apps(group) {
		for rel := range s.Releases(app.AppRef) {
			if rel.Push != "" && s.PhaseOf(rel) == cloud.PhaseStarting {
				_, _ = d.find(rel.Push) // a push that can't be followed now is asked for by its ID later
			}
		}
	}
	d.mu.Lock()
	all := slices.Collect(maps.Values(d.byID))
	d.mu.Unlock()
	list := []api.Push{}
	for _, p := range all {
		if p.app.Group == group && !p.endedBefore(d.cfg.Now().Add(-keepEnded)) {
			list = append(list, p.show())
		}
	}
	slices.SortFunc(list, func(a, b api.Push) int { return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID)) })
	return list
}

// find returns the push with the ID, also by the release that it made before the node was restarted.
func (d *Deployer) find(id string) (*push, error) {
	d.mu.Lock()
	p, ok := d.byID[id]
	d.mu.Unlock()
	if ok {
		return p, nil
	}
	for rel := range d.cfg.Store.State().AllReleases() {
		if rel.Push == id && id != "" {
			return d.start(&push{
				id: id, app: rel.AppRef, by: cloud.Actor{Name: rel.By}, created: rel.Created, phase: api.PushStarting, release: rel.N, found: true, foundSource: rel.Spec.Image.Name,
			})
		}
	}
	return nil, cloud.Errorf(cloud.NotFound, "no push %q: it ended before it made a release, and changed nothing", id).WithHint("push again")
}

// run takes a push to its end, and records how it ended.
func (d *Deployer) run(p *push) {
	log := d.log.With("app", p.app.String(), "push", p.id, "by", p.by.Name)
	defer p.cancel(nil)
	defer func() {
		err := os.RemoveAll(p.dir)
		for _, t := range p.takeHeld() {
			err = errors.Join(err, d.sources.release(t))
		}
		if err != nil {
			log.Error("cannot remove an upload", "err", err)
		}
	}()
	out, err := d.carryOut(p)
	if err == nil {
		log.Info("push done", "release", out.Release)
		p.end(&out, nil, d.cfg.Now())
		return
	}
	// Cancelling and superseding write first and cancel the push's context then, with the lock held.
	d.commit.Lock()
	if cause := context.Cause(p.ctx); cause != nil {
		err = cause
	}
	d.commit.Unlock()
	if d.life.Err() != nil {
		if _, ok := p.releaseRef(); ok {
			// The release goes on without this process. The next one finds the push by its release, and the
			// reader of the events has been told to come back.
			return
		}
		err = cloud.Errorf(cloud.Unavailable, "the node stopped before the push had made a release: nothing has changed").WithHint("push again")
	}
	problem := api.ProblemOf(err)
	if problem.Code == cloud.Internal {
		log.Error("push failed", "err", err)
	} else {
		log.Info("push failed", "code", problem.Code, "reason", err.Error())
	}
	p.end(nil, problem, d.cfg.Now())
}

// carryOut takes a push through its phases. A panic on the way is an error of this push alone.
func (d *Deployer) carryOut(p *push) (out api.Outcome, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
		}
	}()
	ref, made := p.releaseRef()
	if made {
		p.events.add(api.PushEvent{Release: ref.N})
	} else {
		if err := d.awaitUpload(p); err != nil {
			return out, err
		}
		if ref, err = d.makeRelease(p); err != nil {
			return out, err
		}
	}
	p.enter(api.PushStarting)
	out, err = d.awaitRollout(p.ctx, ref, false, func(r api.Rollout) bool {
		p.events.add(api.PushEvent{Rollout: &r})
		return true
	})
	if err == nil {
		d.everywhere(p.ctx)
	}
	return out, err
}
