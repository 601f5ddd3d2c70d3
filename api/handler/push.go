package handler

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// push is one push from its draft to its end. It goes on when its client goes away.
type push struct {
	id      string
	seq     int // pushes are created in this order
	app     cloud.AppRef
	draft   api.PushRequest
	by      cloud.Actor
	created time.Time
	dir     string // its own folder, gone with its end
	journal *journal
	// found is a push of an earlier process, of which nothing is known but the release it made.
	found bool

	ctx    context.Context
	cancel context.CancelCauseFunc // with why it ends

	uploaded chan struct{} // closed when what it waits for is there

	mu        sync.Mutex
	phase     api.PushPhase
	receiving bool
	release   int
	outcome   *api.Outcome
	failure   *api.Problem
	ended     time.Time
}

func (p *push) show() api.Push {
	p.mu.Lock()
	defer p.mu.Unlock()
	return api.Push{
		ID: p.id, Group: p.app.Group, App: p.app.App, Phase: p.phase, Created: p.created, By: p.by.Name,
		Release: p.release, Events: p.journal.count(), Outcome: p.outcome, Failure: p.failure,
	}
}

func (p *push) waitsForUpload() bool { return p.draft.Source != nil || p.draft.Archive }

func (p *push) upload() string { return filepath.Join(p.dir, "upload") }

// known is the folder of the files that need no upload.
func (p *push) known() string { return filepath.Join(p.dir, "known") }

// files are what the draft lists of the folder.
func (p *push) files() []api.File {
	if p.draft.Source == nil {
		return nil
	}
	return p.draft.Source.Files
}

// enter begins a phase.
func (p *push) enter(phase api.PushPhase) {
	p.mu.Lock()
	p.phase = phase
	p.mu.Unlock()
	p.journal.add(api.PushEvent{Phase: phase}, false)
}

// made notes the release.
func (p *push) made(n int) {
	p.mu.Lock()
	p.release = n
	p.mu.Unlock()
	p.journal.add(api.PushEvent{Release: n}, false)
}

func (p *push) releaseRef() (cloud.ReleaseRef, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.app.Release(p.release), p.release != 0
}

func (p *push) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.phase.Ended()
}

// end notes how it ended.
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
	p.journal.add(api.PushEvent{Outcome: out, Failure: failure}, true)
}

// beginUpload lets one upload in at a time, and none once it is whole.
func (p *push) beginUpload() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.waitsForUpload():
		return cloud.Errorf(cloud.Conflict, "push %s does not wait for an upload", p.id)
	case p.phase != api.PushUploading || p.isUploaded():
		return cloud.Errorf(cloud.Conflict, "push %s has its upload already", p.id)
	case p.receiving:
		return cloud.Errorf(cloud.Conflict, "push %s is being uploaded already", p.id)
	}
	p.receiving = true
	return nil
}

func (p *push) isUploaded() bool {
	select {
	case <-p.uploaded:
		return true
	default:
		return false
	}
}

func (p *push) endUpload(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receiving = false
	if err == nil {
		close(p.uploaded)
	}
}

func (p *push) isReceiving() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.receiving
}

// checkRequest reports all that is wrong with what a push asks for, before anything is sent.
func checkRequest(s *cloud.State, app cloud.AppRef, d api.PushRequest) error {
	var errs []error
	sources := 0
	for _, has := range []bool{d.Image != "", d.Source != nil, d.Archive} {
		if has {
			sources++
		}
	}
	if sources != 1 {
		errs = append(errs, cloud.Errorf(cloud.Invalid, "a push has one of image, source and archive, not %d", sources).
			WithHint("push a folder, or --image REF"))
	}
	if d.Source != nil && d.Source.Dockerfile != "" && !filepath.IsLocal(d.Source.Dockerfile) {
		errs = append(errs, cloud.Errorf(cloud.Invalid, "the Dockerfile %q lies outside the folder", d.Source.Dockerfile))
	}
	errs = append(errs, s.CheckPush(app, d.Spec, d.Stage))
	return joined(errs)
}

// mayExpose reports a public route that a push asks for on behalf of somebody who may not map one.
func mayExpose(by cloud.Actor, d cloud.PushSpec) error {
	for _, r := range d.Routes {
		if r.Public && !by.Role.Allows(cloud.RoleReleaser) {
			return cloud.Errorf(cloud.Denied, "the manifest maps %s for the public, which takes the role %s", r.Host, cloud.RoleReleaser).
				WithHint("push without it, and have somebody map it: micro map APP %s --public", r.Host)
		}
	}
	return nil
}

// joined makes one error of many; its code is the first one's.
func joined(errs []error) error {
	var first error
	n := 0
	for _, err := range errs {
		if err != nil {
			if n++; first == nil {
				first = err
			}
		}
	}
	if n < 2 {
		return first
	}
	all := cloud.Errorf(cloud.CodeOf(first), "%w", errors.Join(errs...))
	all.Hint = cloud.HintOf(first)
	return all
}

// pushName is what the release says its image was made from.
func (p *push) pushName() string {
	if p.draft.Image != "" {
		return p.draft.Image
	}
	if p.draft.Name != "" {
		return p.draft.Name
	}
	return fmt.Sprintf("%s (%s)", p.app.App, p.id)
}
