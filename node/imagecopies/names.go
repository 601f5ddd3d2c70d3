package imagecopies

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/images"
)

// Pull returns the image of a name: the one that has this name in the cloud, else a registry's.
func (c *Copies) Pull(ctx context.Context, name string, progress func(runtime.Progress)) (runtime.Image, error) {
	full, err := images.FullName(name)
	if err != nil { // a digest, or no name; the store tells
		return c.Store.Pull(ctx, name, progress)
	}
	named, ok := c.Views.View().State.ImageName(full)
	if !ok || named.Digest == "" {
		return c.Store.Pull(ctx, name, progress)
	}
	image, err := c.Get(ctx, named.Digest)
	if cloud.CodeOf(err) == cloud.NotFound {
		err = cloud.Errorf(cloud.Unavailable, "image %s is %s in this cloud, and no node that answers has it", name, named.Digest).
			WithHint("load it again: micro image load ARCHIVE")
	}
	image.Name = name
	return image, err
}

// RunNames keeps the names of this node's images those of the cloud, until ctx ends.
func (c *Copies) RunNames(ctx context.Context) error {
	view := c.Views.View()
	for {
		wait := cloud.Never
		if !c.ApplyNames(ctx) {
			wait = retryAfter
		}
		var err error
		if view, err = c.namesChanged(ctx, view, wait); err != nil {
			return nil
		}
	}
}

// namesChanged returns another view than old as soon as its images have other names, or the latest one after wait. It fails
// when ctx ends.
func (c *Copies) namesChanged(ctx context.Context, old cloud.View, wait time.Duration) (cloud.View, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	was := slices.Collect(old.State.ImageNames())
	for {
		next, err := c.Views.Changed(waiting, old)
		if err != nil {
			return old, ctx.Err() // nil: time is up
		}
		if old = next; !slices.Equal(slices.Collect(next.State.ImageNames()), was) {
			return next, nil
		}
	}
}

// ApplyNames gives this node's images the names that they have in the cloud, and reports whether all of them have theirs. It
// fetches images that have names from other nodes. The log has why one cannot be named; RunNames tries it again.
func (c *Copies) ApplyNames(ctx context.Context) bool {
	c.naming.Lock()
	defer c.naming.Unlock()
	said, err := c.unnamed, c.name(ctx)
	if ctx.Err() != nil {
		return false
	}
	c.unnamed = ""
	if err == nil {
		return true
	}
	if c.unnamed = err.Error(); c.unnamed != said {
		c.Log.Warn("cannot name images as the cloud does yet", "err", err)
	}
	return false
}

// name gives all names that it can, and returns why others cannot be given.
func (c *Copies) name(ctx context.Context) error {
	want := slices.Collect(c.Views.View().State.ImageNames())
	if c.named != nil && slices.Equal(want, c.named) {
		return nil
	}
	have, err := c.Store.Names(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, n := range want {
		if have[n.Name] != n.Digest {
			failed = append(failed, c.giveName(ctx, n))
		}
		delete(have, n.Name)
	}
	if len(have) > 0 { // given by a micro whose nodes each had names of their own
		failed = append(failed, c.Adopt(ctx, have))
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	c.named = append([]*cloud.ImageName{}, want...)
	return nil
}

func (c *Copies) giveName(ctx context.Context, n *cloud.ImageName) error {
	if n.Digest == "" {
		return c.Store.Untag(ctx, n.Name)
	}
	if _, err := c.Get(ctx, n.Digest); err != nil {
		return err
	}
	return c.Store.Tag(ctx, n.Digest, n.Name)
}
