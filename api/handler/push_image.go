package handler

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// await waits until what the push needs has been uploaded.
func (s *pushes) await(p *push) error {
	if !p.waitsForUpload() {
		return nil
	}
	p.journal.add(api.PushEvent{Phase: api.PushUploading}, false)
	limit := time.NewTicker(uploadWait)
	defer limit.Stop()
	for {
		select {
		case <-p.uploaded:
			return nil
		case <-p.ctx.Done():
			return context.Cause(p.ctx)
		case <-limit.C:
			if !p.isReceiving() && !p.isUploaded() {
				return cloud.Errorf(cloud.Interrupted, "nothing was uploaded within %s", uploadWait)
			}
		}
	}
}

// image builds, pulls or imports the image.
func (s *pushes) image(p *push) (runtime.Image, error) {
	p.enter(api.PushImage)
	if p.draft.Source != nil {
		if err := checkDockerfile(p.upload(), p.draft.Source.Dockerfile); err != nil {
			return runtime.Image{}, err
		}
	}
	select {
	case s.builds <- struct{}{}:
	default:
		p.journal.add(api.PushEvent{Note: "waits for other builds to end"}, false)
		select {
		case s.builds <- struct{}{}:
		case <-p.ctx.Done():
			return runtime.Image{}, context.Cause(p.ctx)
		}
	}
	defer func() { <-s.builds }()
	ctx, cancel := context.WithTimeoutCause(p.ctx, buildTimeout, cloud.Errorf(cloud.DeployFailed, "the image was not made within %s", buildTimeout))
	defer cancel()
	output, err := os.Create(p.buildLog())
	if err != nil {
		return runtime.Image{}, err
	}
	defer output.Close()
	image, err := s.make(ctx, p, s.progress(p, newBuildLog(output, s.h.Now)))
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return image, err
}

func (p *push) buildLog() string { return filepath.Join(p.dir, "build.log") }

func (s *pushes) make(ctx context.Context, p *push, progress func(runtime.Progress)) (runtime.Image, error) {
	switch src := p.draft.Source; {
	case p.draft.Image != "":
		return s.h.Images.Pull(ctx, p.draft.Image, progress)
	case src != nil:
		return s.h.Builder.Build(ctx, runtime.Build{
			Name: p.app.String(), Source: p.upload(), Dockerfile: src.Dockerfile, Apart: src.Apart, Target: src.Target, Args: src.Args,
			NoCache: src.NoCache, Labels: src.Labels, Progress: progress,
		})
	}
	archive, err := os.Open(p.upload())
	if err != nil {
		return runtime.Image{}, err
	}
	defer archive.Close()
	return s.h.Images.Import(ctx, archive, progress)
}

// progress hands on what a build or pull says, to readers now and to the build's log.
func (s *pushes) progress(p *push, output *buildLog) func(runtime.Progress) {
	var mu sync.Mutex
	return func(r runtime.Progress) {
		mu.Lock()
		defer mu.Unlock()
		shown := api.Progress(r)
		p.journal.add(api.PushEvent{Progress: &shown}, false)
		// A full disk shows itself in the build; its log is no reason to fail.
		_ = output.add(r)
	}
}

// checkDockerfile says so clearly where a folder has nothing to build.
func checkDockerfile(dir, name string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	given := name
	if name == "" {
		name = "Dockerfile"
	}
	info, err := root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && given == "":
		return cloud.Errorf(cloud.Invalid, "the folder has no Dockerfile").WithHint("add a Dockerfile, or push an image: micro push --image REF")
	case errors.Is(err, fs.ErrNotExist):
		return cloud.Errorf(cloud.Invalid, "the folder has no %s", name).WithHint("check the manifest's and the ignore file's paths")
	case err != nil:
		return cloud.Errorf(cloud.Invalid, "cannot read %s in the folder: %w", name, err)
	case !info.Mode().IsRegular():
		return cloud.Errorf(cloud.Invalid, "%s in the folder is no file", name)
	}
	return nil
}

// release writes the release of a push, unless a newer push of the app was faster, and ends older ones.
func (s *pushes) release(p *push, image runtime.Image) (cloud.ReleaseRef, error) {
	s.commit.Lock()
	defer s.commit.Unlock()
	if err := context.Cause(p.ctx); err != nil {
		return cloud.ReleaseRef{}, err
	}
	if newer := s.newer(p); newer != nil {
		ref, _ := newer.releaseRef()
		return ref, supersededBy(ref)
	}
	if p.draft.Source == nil {
		image.Name = p.pushName()
	}
	want := cloud.Push{
		App: p.app, Spec: p.draft.Spec, Stage: p.draft.Stage, ID: p.id,
		Built: cloud.Built{Image: cloud.Image{Digest: image.Digest, Name: p.pushName()}, Ports: image.Ports},
	}
	at := cloud.Stamp{At: s.h.Now().UTC().Truncate(time.Millisecond), By: p.by.Name}
	var ref cloud.ReleaseRef
	_, err := s.h.Store.Update(p.ctx, p.by, "push", p.app.String(), func(st *cloud.State) (changes []cloud.Change, err error) {
		if err := st.HostsFree(s.h.domain(), p.app, want.Spec.Routes); err != nil {
			return nil, err
		}
		changes, ref, err = st.Push(want, at)
		return changes, err
	})
	if err != nil {
		return ref, err
	}
	if err := s.h.builds.keep(p.buildLog(), ref); err != nil {
		s.h.Log.Warn("the build's output is not kept", "app", p.app.String(), "release", ref.N, "err", err)
	}
	p.made(ref.N)
	for _, older := range s.alike(p) {
		if older.seq < p.seq && !older.over() {
			older.cancel(supersededBy(ref))
		}
	}
	return ref, nil
}

func supersededBy(ref cloud.ReleaseRef) error {
	return cloud.Errorf(cloud.Conflict, "superseded by r%d: a newer push of %s was made", ref.N, ref.AppRef).WithHint("micro releases %s", ref.AppRef)
}

// alike are the other pushes of the app: those that stage apart from those that don't.
func (s *pushes) alike(p *push) []*push {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*push
	for _, other := range s.byID {
		if other != p && !other.found && other.app == p.app && other.draft.Stage == p.draft.Stage {
			out = append(out, other)
		}
	}
	return out
}

// newer is a push of the app that was created later and has made its release.
func (s *pushes) newer(p *push) *push {
	for _, other := range s.alike(p) {
		if _, made := other.releaseRef(); made && other.seq > p.seq {
			return other
		}
	}
	return nil
}

// cancel gives a push up; by is who asked.
func (s *pushes) cancel(ctx context.Context, p *push, by cloud.Actor) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	if p.over() {
		return cloud.Errorf(cloud.Conflict, "the push has ended already")
	}
	why := cloud.Errorf(cloud.Interrupted, "cancelled by %s", by.Name)
	ref, made := p.releaseRef()
	if made {
		_, err := s.h.Store.Update(ctx, by, "cancel", ref.String(), func(st *cloud.State) ([]cloud.Change, error) {
			app, rel, err := st.MustRelease(ref)
			if err != nil {
				return nil, err
			}
			if app.Current == ref.N || rel.Up {
				return nil, cloud.Errorf(cloud.Conflict, "release %s is up already", ref).WithHint("micro rollback %s", ref.AppRef)
			}
			return st.Fail(ref, cloud.Failure{At: s.h.Now().UTC(), Reason: "cancelled by " + by.Name, Hint: "push again"}), nil
		})
		if err != nil {
			return err
		}
	}
	p.cancel(why)
	return nil
}
