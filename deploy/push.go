package deploy

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/source"
)

// push is one push from its request to its end. It goes on when its client goes away.
type push struct {
	id      string
	seq     int // pushes are numbered in the order in which they were created
	app     cloud.AppRef
	request api.PushRequest
	by      cloud.Actor
	created time.Time
	dir     string // the push's own folder, removed at its end
	events  *eventBuffer
	// found marks a push of an earlier process: only its release is known.
	found       bool
	foundSource string // what its image was made from

	ctx    context.Context
	cancel context.CancelCauseFunc // with the reason why the push ends

	uploaded chan struct{} // closed when the upload is complete

	// Who receives an upload uses these, and the push itself once the upload is complete.
	listed bool           // the client has sent a list
	list   []source.Entry // all that the folder has, where it was listed
	base   *tree          // what the list was compared with; nil for nothing
	tree   *tree          // what was uploaded

	mu        sync.Mutex
	phase     api.PushPhase
	receiving bool
	release   int
	outcome   *api.Outcome
	failure   *api.Problem
	ended     time.Time
	held      []*tree // kept until the push has let go of its files
	letGo     bool
}

// hold has the push release a tree at its end. It reports false where the push has let go of its files
// already: whoever still receives something then, it is of no use.
func (p *push) hold(t *tree) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.letGo {
		return false
	}
	p.held = append(p.held, t)
	return true
}

// takeHeld returns the trees that the push holds; it can't hold any more.
func (p *push) takeHeld() []*tree {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.letGo = true
	return p.held
}

// show describes the push as it stands.
func (p *push) show() api.Push {
	p.mu.Lock()
	defer p.mu.Unlock()
	return api.Push{
		ID: p.id, Group: p.app.Group, App: p.app.App, Phase: p.phase, Created: p.created, By: p.by.Name,
		Source: p.source(), Release: p.release, Events: p.events.count(), Outcome: p.outcome, Failure: p.failure,
	}
}

func (p *push) needsUpload() bool { return p.request.Source != nil || p.request.Archive }

// uploadPath is the archive, or the folder in which a tree is made.
func (p *push) uploadPath() string { return filepath.Join(p.dir, "upload") }

func (p *push) buildLogPath() string { return filepath.Join(p.dir, "build.log") }

// forgetSecrets drops what only the build needs: the push itself is kept for longer.
func (p *push) forgetSecrets() {
	if p.request.Source != nil {
		clear(p.request.Source.Secrets)
	}
}

// enter begins a phase.
func (p *push) enter(phase api.PushPhase) {
	p.mu.Lock()
	p.phase = phase
	p.mu.Unlock()
	p.events.add(api.PushEvent{Phase: phase})
}

// setRelease records the number of the release that the push has made.
func (p *push) setRelease(n int) {
	p.mu.Lock()
	p.release = n
	p.mu.Unlock()
	p.events.add(api.PushEvent{Release: n})
}

// releaseRef returns the release that the push has made, and whether it has made one.
func (p *push) releaseRef() (cloud.ReleaseRef, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.app.Release(p.release), p.release != 0
}

func (p *push) hasEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.phase.Ended()
}

// endedBefore reports whether the push ended before t.
func (p *push) endedBefore(t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.phase.Ended() && p.ended.Before(t)
}

// end records how the push ended: with an outcome or a failure.
func (p *push) end(out *api.Outcome, failure *api.Problem, now time.Time) {
	phase := api.PushDone
	switch {
	case failure != nil && failure.Code == cloud.Interrupted:
		phase = api.PushCancelled
	case failure != nil:
		phase = api.PushFailed
	}
	p.mu.Lock()
	p.phase, p.outcome, p.failure, p.ended = phase, out, failure, now
	p.mu.Unlock()
	p.events.finish(api.PushEvent{Outcome: out, Failure: failure})
}

// source is what the release says its image was made from.
func (p *push) source() string {
	if p.found {
		return p.foundSource
	}
	if p.request.Image != "" {
		return p.request.Image
	}
	if p.request.Name != "" {
		return p.request.Name
	}
	return fmt.Sprintf("%s (%s)", p.app.App, p.id)
}
