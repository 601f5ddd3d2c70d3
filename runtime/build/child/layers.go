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

// layers is containerd's snapshotter with two changes for BuildKit. It mounts as many layers as the kernel supports. And it
// completes the layers of steps (see seal), so that containers can use them and the same step makes the same layer on every
// node.
type layers struct {
	snapshot.Snapshotter
	shared *shared
}

// Mounts implements snapshot.Snapshotter.
func (l layers) Mounts(ctx context.Context, key string) (snapshot.Mountable, error) {
	m, err := l.Snapshotter.Mounts(ctx, key)
	if err != nil {
		return nil, err
	}
	return deep{m, l.shared}, nil
}

// View implements snapshot.Snapshotter.
func (l layers) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) (snapshot.Mountable, error) {
	m, err := l.Snapshotter.View(ctx, key, parent, opts...)
	if err != nil {
		return nil, err
	}
	return deep{m, l.shared}, nil
}

// deep mounts overlays with more layers than containerd's package mount supports, and returns a bind mount of them.
type deep struct {
	snapshot.Mountable
	shared *shared
}

// Mount implements snapshot.Mountable.
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

// kernelStacks identifies the error of checkLayers, which arrives as text.
const kernelStacks = "the kernel stacks"

// checkLayers rejects a writable layer on top of as many layers as the kernel supports: no container could use it.
func checkLayers(all []mount.Mount) error {
	for _, m := range all {
		if n := len(overlay.Layers(m)); n >= overlay.MaxLayers && overlay.Upper(m) != "" {
			return fmt.Errorf("this step makes layer %d of the image, and %s %d at most", n+1, kernelStacks, overlay.MaxLayers)
		}
	}
	return nil
}

// Commit implements snapshot.Snapshotter. It does not seal layers that BuildKit unpacks from images: these must stay as they
// are.
func (l layers) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	if !strings.HasPrefix(key, "extract-") {
		if err := l.seal(ctx, key); err != nil {
			return err
		}
	}
	return l.Snapshotter.Commit(ctx, name, key, opts...)
}

// seal completes the layer of a step.
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

// folders returns the folder of a snapshot's own files, and the folders of the layers below, the top one first.
func folders(m mount.Mount) (upper string, lower []string) {
	if m.Type == overlay.Type {
		return overlay.Upper(m), overlay.Layers(m)
	}
	return m.Source, nil
}
