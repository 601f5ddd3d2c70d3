package deploy

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

const (
	// Builds are bounded by the machine's cores and memory: more of them only take turns. Half of the places
	// stay free for other groups.
	maxBuilds, maxBuildsPerGroup = 4, 2
	// Pulling and importing have places of their own, so that a build does not wait for a slow registry or for
	// an archive with thousands of files.
	maxFetches, maxFetchesPerGroup = 4, 2
	// buildTimeout is how long making an image may take.
	buildTimeout = time.Hour
)

// makeImage builds, pulls or imports the image of a push, as soon as there is a place for it.
func (d *Deployer) makeImage(p *push) (runtime.Image, error) {
	p.enter(api.PushImage)
	if p.request.Source != nil {
		if err := checkDockerfile(p.tree.folder(), p.request.Source.Dockerfile); err != nil {
			return runtime.Image{}, err
		}
	}
	places, note := d.fetches, "waiting for other images to be fetched"
	if p.request.Source != nil {
		places, note = d.builds, "waiting for other builds to end"
	}
	giveBack, err := places.take(p.ctx, p.app.Group, func() { p.events.add(api.PushEvent{Note: note}) })
	if err != nil {
		return runtime.Image{}, err
	}
	defer giveBack()
	ctx, cancel := context.WithTimeoutCause(p.ctx, buildTimeout, cloud.Errorf(cloud.DeployFailed, "making the image took longer than %s", buildTimeout))
	defer cancel()
	output, err := os.Create(p.buildLogPath())
	if err != nil {
		return runtime.Image{}, err
	}
	defer output.Close()
	defer p.forgetSecrets()
	image, err := d.bringImage(ctx, p, d.reportTo(p, newBuildLog(output, d.cfg.Now)))
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err == nil {
		err = image.CheckUser()
	}
	return image, err
}

// bringImage gets the image from where the request says it comes from.
func (d *Deployer) bringImage(ctx context.Context, p *push, progress func(runtime.Progress)) (runtime.Image, error) {
	switch src := p.request.Source; {
	case p.request.Image != "":
		return d.cfg.Images.Pull(ctx, p.request.Image, progress)
	case src != nil:
		created, err := createdAt(src, p.tree)
		if err != nil {
			return runtime.Image{}, err
		}
		return d.cfg.Builder.Build(ctx, runtime.Build{
			Name: p.app.String(), Source: p.tree.folder(), List: p.tree.list(), Digest: p.tree.digest, Dockerfile: src.Dockerfile, Apart: src.Apart, Target: src.Target, Args: src.Args,
			Secrets: src.Secrets, NoCache: src.NoCache, Created: created, Labels: src.Labels, Progress: progress,
		})
	}
	archive, err := os.Open(p.uploadPath())
	if err != nil {
		return runtime.Image{}, err
	}
	defer archive.Close()
	return d.cfg.Images.Import(ctx, archive, progress)
}

// reportTo returns a function that writes the progress of a build or pull to the push's events and to the
// build's log.
func (d *Deployer) reportTo(p *push, output *buildLog) func(runtime.Progress) {
	var mu sync.Mutex
	return func(r runtime.Progress) {
		mu.Lock()
		defer mu.Unlock()
		shown := api.Progress(r)
		p.events.add(api.PushEvent{Progress: &shown})
		// A full disk fails the build itself; that its log is incomplete then is no reason of its own.
		_ = output.add(r)
	}
}

// checkDockerfile reports a folder that has nothing to build.
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
		return cloud.Errorf(cloud.Invalid, "%s in the folder is not a regular file", name)
	}
	return nil
}

// createdAt is what an image says of when it was made: what the request says, else the time of the newest file.
func createdAt(src *api.Source, t *tree) (time.Time, error) {
	if !src.Created.IsZero() {
		return src.Created, nil
	}
	var newest time.Time
	entries, err := t.entries()
	for _, e := range entries {
		if e.ModTime.After(newest) {
			newest = e.ModTime
		}
	}
	return newest, err
}
