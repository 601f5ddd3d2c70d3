package child

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/moby/buildkit/snapshot"

	"github.com/protoduction/micro/runtime/overlay"
)

// layers is the snapshotter that BuildKit works with: containerd's, with mounts of as many layers as the kernel
// stacks, and with layers that containers can work with and that are the same wherever they are built.
type layers struct {
	snapshot.Snapshotter
	shared *shared
}

// Mounts is snapshot.Snapshotter's.
func (l layers) Mounts(ctx context.Context, key string) (snapshot.Mountable, error) {
	m, err := l.Snapshotter.Mounts(ctx, key)
	if err != nil {
		return nil, err
	}
	return deep{m, l.shared}, nil
}

// View is snapshot.Snapshotter's.
func (l layers) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) (snapshot.Mountable, error) {
	m, err := l.Snapshotter.View(ctx, key, parent, opts...)
	if err != nil {
		return nil, err
	}
	return deep{m, l.shared}, nil
}

// deep mounts by itself what has more layers than containerd's package mount can name, and hands out a bind mount
// of that.
type deep struct {
	snapshot.Mountable
	shared *shared
}

// Mount is snapshot.Mountable's.
func (d deep) Mount() ([]mount.Mount, func() error, error) {
	all, release, err := d.Mountable.Mount()
	if err != nil || len(all) != 1 {
		return all, release, err
	}
	if err := checkLayers(all); err != nil {
		return nil, nil, errors.Join(err, release())
	}
	if overlay.Fits(all[0]) {
		return all, release, nil
	}
	return d.shared.mount(all[0], release)
}

// kernelStacks is by what such an error is known again, which reaches us as text.
const kernelStacks = "the kernel stacks"

// checkLayers refuses to write to a layer on as many as the kernel stacks: no container could have it.
func checkLayers(all []mount.Mount) error {
	for _, m := range all {
		if n := len(overlay.Layers(m)); n >= overlay.MaxLayers && overlay.Upper(m) != "" {
			return fmt.Errorf("this step makes layer %d of the image, and %s %d at most", n+1, kernelStacks, overlay.MaxLayers)
		}
	}
	return nil
}

// Commit is snapshot.Snapshotter's. What BuildKit unpacks of other people's layers is written as it should be
// already, and must stay as it is there.
func (l layers) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	if !strings.HasPrefix(key, "extract-") {
		if err := l.seal(ctx, key); err != nil {
			return err
		}
	}
	return l.Snapshotter.Commit(ctx, name, key, opts...)
}

// seal completes the layer that a step has made.
func (l layers) seal(ctx context.Context, key string) error {
	info, err := l.Stat(ctx, key)
	if err != nil {
		return err
	}
	m, err := l.Snapshotter.Mounts(ctx, key)
	if err != nil {
		return err
	}
	all, release, err := m.Mount()
	if err != nil {
		return err
	}
	err = errors.New("its snapshot is not one folder")
	if len(all) == 1 {
		err = seal(all[0], info.Created)
	}
	return errors.Join(err, release())
}

// folders returns the folder that a snapshot's files are written to, and those of the layers below, the top one
// first.
func folders(m mount.Mount) (upper string, lower []string) {
	if m.Type == overlay.Type {
		return overlay.Upper(m), overlay.Layers(m)
	}
	return m.Source, nil
}
