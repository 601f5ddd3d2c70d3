package images

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/protoduction/micro/runtime/engine"
)

// Space is the disk space of layers, packed and unpacked, in bytes. The files that containers write are not in it.
type Space struct {
	Images int64 // needed by images
	Cache  int64 // needed by none: the build cache
}

// Space measures all layers of the engine's store.
func (s *Store) Space(ctx context.Context) (Space, error) {
	ctx = s.ns(ctx)
	blobs, unpacked, err := s.contents(ctx)
	if err != nil {
		return Space{}, err
	}
	var space Space
	add := func(needed bool, size int64) {
		if needed {
			space.Images += size
		} else {
			space.Cache += size
		}
	}
	err = s.client.ContentStore().Walk(ctx, func(i content.Info) error {
		add(blobs[i.Digest], i.Size)
		return nil
	})
	if err != nil {
		return space, fmt.Errorf("measure content: %w", err)
	}
	sn := s.client.SnapshotService(engine.Snapshotter)
	err = sn.Walk(ctx, func(ctx context.Context, i snapshots.Info) error {
		if i.Kind != snapshots.KindCommitted {
			return nil // a container's files
		}
		if d, ok := i.Labels[SharedLabel]; ok && blobs[digest.Digest(d)] {
			return nil // its files are those of an image's snapshot
		}
		u, err := sn.Usage(ctx, i.Name)
		if errdefs.IsNotFound(err) {
			return nil
		}
		add(unpacked[i.Name], u.Size)
		return err
	})
	if err != nil {
		return space, fmt.Errorf("measure unpacked files: %w", err)
	}
	return space, nil
}

// SharedLabel is the label of a snapshot of the build cache that has its files in common with the snapshot of an image.
// Its value is the digest of the layer.
const SharedLabel = "micro.shared-layer"

// contents returns the blobs and the snapshots that images need.
func (s *Store) contents(ctx context.Context) (blobs map[digest.Digest]bool, unpacked map[string]bool, err error) {
	all, err := s.client.ImageService().List(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list images: %w", err)
	}
	blobs, unpacked = map[digest.Digest]bool{}, map[string]bool{}
	store := s.client.ContentStore()
	visit := images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if blobs[d.Digest] {
			return nil, images.ErrSkipDesc
		}
		blobs[d.Digest] = true
		info, err := store.Info(ctx, d.Digest)
		if errdefs.IsNotFound(err) {
			return nil, images.ErrSkipDesc // of another platform, or just removed
		}
		if err != nil {
			return nil, err
		}
		if err := s.addChain(ctx, info.Labels[snapshotLabel], unpacked); err != nil {
			return nil, err
		}
		return images.Children(ctx, store, d)
	})
	for _, image := range all {
		if err := images.Walk(ctx, visit, image.Target); err != nil && !errdefs.IsNotFound(err) {
			return nil, nil, fmt.Errorf("measure image %s: %w", image.Name, err)
		}
	}
	return blobs, unpacked, nil
}

// snapshotLabel is the label by which containerd's collector finds a blob's snapshot.
const snapshotLabel = "containerd.io/gc.ref.snapshot." + engine.Snapshotter

// addChain adds a snapshot and all that it stands on.
func (s *Store) addChain(ctx context.Context, name string, to map[string]bool) error {
	sn := s.client.SnapshotService(engine.Snapshotter)
	for name != "" && !to[name] {
		to[name] = true
		info, err := sn.Stat(ctx, name)
		if errdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		name = info.Parent
	}
	return nil
}
