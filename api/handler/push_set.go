package handler

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

const (
	// maxPushes bounds how many pushes are under way, waiting for their upload too.
	maxPushes = 64
	// keepEnded is how long a push that has ended answers for itself; its release does after that.
	keepEnded = 5 * time.Minute
	// uploadWait is how long a push waits for its upload to begin.
	uploadWait = 10 * time.Minute
	// buildsAtOnce bounds how many images are made at a time: more only take turns.
	buildsAtOnce = 2
	// buildTimeout is how long an image may take to be made.
	buildTimeout = time.Hour
)

// pushes are those under way, and those that ended a short time ago.
type pushes struct {
	h       *Handler
	dir     string
	builds  chan struct{}
	running sync.WaitGroup
	// unwritten are pushes whose image is there, and which no release names yet.
	unwritten atomic.Int32

	// commit is held while a release is made or taken back: pushes of an app supersede one another in the
	// order they were created, whatever takes how long.
	commit sync.Mutex

	mu   sync.Mutex
	life context.Context // nil before the node serves
	seq  int
	byID map[string]*push
}

// newPushes clears away what an earlier process left.
func newPushes(h *Handler) (*pushes, error) {
	s := &pushes{h: h, dir: filepath.Join(h.Dir, "uploads"), builds: make(chan struct{}, buildsAtOnce), byID: map[string]*push{}}
	if err := os.RemoveAll(s.dir); err != nil {
		return nil, fmt.Errorf("clear away old uploads: %w", err)
	}
	return s, os.MkdirAll(s.dir, 0o700)
}

func (s *pushes) begin(life context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life = life
}

// create begins a push that has been checked.
func (s *pushes) create(app cloud.AppRef, d api.PushRequest, by cloud.Actor) (*push, error) {
	return s.start(&push{id: strings.ToLower(rand.Text()), app: app, draft: d, by: by, created: s.h.Now().UTC(), phase: api.PushUploading})
}

// start adds a push and lets it run, unless it is there already.
func (s *pushes) start(p *push) (*push, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil || s.life.Err() != nil {
		return nil, errStopping
	}
	if there, ok := s.byID[p.id]; ok {
		return there, nil
	}
	s.forget()
	under := 0
	for _, other := range s.byID {
		if !other.over() {
			under++
		}
	}
	if under >= maxPushes {
		return nil, cloud.Errorf(cloud.Unavailable, "%d pushes are under way, more are not taken", under).WithHint("try again in a minute")
	}
	s.seq++
	p.seq, p.dir, p.journal = s.seq, filepath.Join(s.dir, p.id), newJournal()
	p.uploaded = make(chan struct{})
	p.ctx, p.cancel = context.WithCancelCause(s.life)
	if !p.found {
		if err := os.Mkdir(p.dir, 0o700); err != nil {
			p.cancel(nil)
			return nil, fmt.Errorf("begin a push: %w", err)
		}
	}
	s.byID[p.id] = p
	s.running.Go(func() { s.run(p) })
	return p, nil
}

// forget drops pushes that ended some time ago.
func (s *pushes) forget() {
	for id, p := range s.byID {
		p.mu.Lock()
		old := p.phase.Ended() && s.h.Now().Sub(p.ended) > keepEnded
		p.mu.Unlock()
		if old {
			delete(s.byID, id)
		}
	}
}

// get finds a push, also by the release that it made before a restart of the node.
func (s *pushes) get(id string) (*push, error) {
	s.mu.Lock()
	p, ok := s.byID[id]
	s.mu.Unlock()
	if ok {
		return p, nil
	}
	for rel := range s.h.Store.State().AllReleases() {
		if rel.Push == id && id != "" {
			return s.start(&push{
				id: id, app: rel.AppRef, by: cloud.Actor{Name: rel.By}, created: rel.Created, phase: api.PushStarting, release: rel.N, found: true,
			})
		}
	}
	return nil, cloud.Errorf(cloud.NotFound, "no push %q: it ended before it made a release, and changed nothing", id).WithHint("push again")
}

// run takes a push to its end.
func (s *pushes) run(p *push) {
	log := s.h.Log.With("app", p.app.String(), "push", p.id, "by", p.by.Name)
	defer p.cancel(nil)
	defer func() {
		if err := os.RemoveAll(p.dir); err != nil {
			log.Error("cannot clear away an upload", "err", err)
		}
	}()
	out, err := s.carry(p)
	if err == nil {
		log.Info("push done", "release", out.Release)
		p.end(&out, nil, s.h.Now())
		return
	}
	// What cancels or supersedes writes first and tells afterwards, with the lock held.
	s.commit.Lock()
	if cause := context.Cause(p.ctx); cause != nil {
		err = cause
	}
	s.commit.Unlock()
	if s.stopping() {
		err = cloud.Errorf(cloud.Unavailable, "the node stopped before the push had made a release: nothing has changed").WithHint("push again")
		if _, ok := p.releaseRef(); ok {
			// The release goes on without us: its push is found by it when the node is back, and its
			// reader told that the stream broke off.
			return
		}
	}
	problem := api.ProblemOf(err)
	if problem.Code == cloud.Internal {
		log.Error("push failed", "err", err)
	} else {
		log.Info("push failed", "code", problem.Code, "reason", err.Error())
	}
	p.end(nil, problem, s.h.Now())
}

func (s *pushes) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life.Err() != nil
}

// Writing says whether a push is between its image and its release: the image must not go then, although
// nothing asks for it yet.
func (h *Handler) Writing() bool { return h.pushes.unwritten.Load() > 0 }

// carry takes a push through its phases. A panic on the way is an error of this push alone.
func (s *pushes) carry(p *push) (out api.Outcome, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
		}
	}()
	ref, made := p.releaseRef()
	if !made {
		if err := s.await(p); err != nil {
			return out, err
		}
		image, err := s.image(p)
		if err != nil {
			return out, err
		}
		err = func() error {
			s.unwritten.Add(1)
			defer s.unwritten.Add(-1)
			ref, err = s.release(p, image)
			return err
		}()
		if err != nil {
			return out, err
		}
	} else {
		p.journal.add(api.PushEvent{Release: ref.N}, false)
	}
	p.enter(api.PushStarting)
	return s.h.settle(p.ctx, ref, func(r api.Rollout) bool {
		p.journal.add(api.PushEvent{Rollout: &r}, false)
		return true
	})
}
