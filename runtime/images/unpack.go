package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/layer"
	"github.com/protoduction/micro/runtime/overlay"
)

// freeRatio is how much a layer may unpack to before its ratio counts: empty files pack well.
const freeRatio = 256 << 20

// layers pairs an image's layers with what they must unpack to, having checked that the image is whole
// and for this machine.
func (s *Store) layers(ctx context.Context, name string, m ocispec.Manifest) ([]rootfs.Layer, error) {
	var c imageConfig
	if err := s.readJSON(ctx, m.Config, &c); err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "image %s: its config: %w", name, err)
	}
	if err := s.checkPlatform(name, c); err != nil {
		return nil, err
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, cloud.Errorf(cloud.Invalid, "image %s: %d layers, and a config for %d", name, len(m.Layers), len(c.RootFS.DiffIDs))
	}
	if len(m.Layers) == 0 {
		return nil, cloud.Errorf(cloud.Invalid, "image %s: without a layer, there is nothing to run", name)
	}
	if len(m.Layers) > overlay.MaxLayers {
		return nil, cloud.Errorf(cloud.Invalid, "image %s has %d layers, and the kernel stacks %d at most", name, len(m.Layers), overlay.MaxLayers).
			WithHint("build it with fewer steps, or squash it: docker export CONTAINER | docker import - NAME")
	}
	all := make([]rootfs.Layer, len(m.Layers))
	for i, blob := range m.Layers {
		if !images.IsLayerType(blob.MediaType) {
			return nil, cloud.Errorf(cloud.Invalid, "image %s: layer %d is of type %q", name, i+1, blob.MediaType)
		}
		if err := c.RootFS.DiffIDs[i].Validate(); err != nil {
			return nil, cloud.Errorf(cloud.Invalid, "image %s: layer %d: %w", name, i+1, err)
		}
		all[i] = rootfs.Layer{Blob: blob, Diff: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: c.RootFS.DiffIDs[i]}}
	}
	return all, nil
}

// unpack makes a snapshot of every layer, each as soon as ready says that its blob is in the store, and
// ties the top one to the image.
func (s *Store) unpack(ctx context.Context, name string, m ocispec.Manifest, all []rootfs.Layer, ready func(int) error, report *reporter) error {
	store, snapshots := s.client.ContentStore(), s.client.SnapshotService(engine.Snapshotter)
	left := s.limits.Unpacked
	var chain []digest.Digest
	for i, l := range all {
		if err := ready(i); err != nil {
			return err
		}
		step := report.step(l.Blob.Digest.String()+"/unpack", fmt.Sprintf("unpack layer %d of %d", i+1, len(all)), 0)
		a := &applier{store: store, left: &left, ratio: s.limits.ratio, step: step}
		_, err := rootfs.ApplyLayerWithOpts(ctx, l, chain, snapshots, a, nil, nil)
		step.end(err)
		if err != nil {
			return unpackError(ctx, name, i, err)
		}
		chain = append(chain, l.Diff.Digest)
		info := content.Info{Digest: l.Blob.Digest, Labels: map[string]string{labels.LabelUncompressed: l.Diff.Digest.String()}}
		if _, err := store.Update(ctx, info, "labels."+labels.LabelUncompressed); err != nil {
			return fmt.Errorf("image %s: label layer %d: %w", name, i+1, err)
		}
	}
	key := snapshotLabel
	info := content.Info{Digest: m.Config.Digest, Labels: map[string]string{key: identity.ChainID(chain).String()}}
	if _, err := store.Update(ctx, info, "labels."+key); err != nil {
		return fmt.Errorf("image %s: tie its files to it: %w", name, err)
	}
	return nil
}

func unpackError(ctx context.Context, name string, layer int, err error) error {
	var known *cloud.Error
	switch {
	case errors.As(context.Cause(ctx), &known):
		return known
	case errors.As(err, &known):
		return cloud.Errorf(known.Code, "image %s: layer %d: %w", name, layer+1, known)
	case ctx.Err() != nil:
		return cloud.Errorf(cloud.Interrupted, "image %s: given up", name)
	case errors.Is(err, syscall.ENOSPC):
		return cloud.Errorf(cloud.Unavailable, "image %s: layer %d: the disk is full", name, layer+1).WithCommand("micro prune")
	}
	return cloud.Errorf(cloud.Invalid, "image %s: layer %d does not unpack: %w", name, layer+1, err).
		WithHint("build the image again")
}

// label makes the collector see what a manifest refers to.
func (s *Store) label(ctx context.Context, manifest ocispec.Descriptor) error {
	store := s.client.ContentStore()
	_, err := images.SetChildrenMappedLabels(store, images.ChildrenHandler(store), nil)(ctx, manifest)
	return err
}

// applier unpacks layers as containerd's own does, but knows when to stop: a few bytes can unpack to a
// disk full of zeros.
type applier struct {
	store content.Provider
	left  *int64 // bytes that the image may still unpack to
	ratio int64
	step  *stepReporter
}

var _ diff.Applier = (*applier)(nil)

func (a *applier) Apply(ctx context.Context, d ocispec.Descriptor, mounts []mount.Mount, _ ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	ra, err := a.store.ReaderAt(ctx, d)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer ra.Close()
	plain, err := layer.Decompress(io.NewSectionReader(ra, 0, ra.Size()))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer plain.Close()
	a.step.total(0)
	return layer.Apply(ctx, &layerReader{ctx: ctx, r: plain, applier: a, most: freeRatio + ra.Size()*a.ratio}, mounts)
}

// layerReader is a layer's plain bytes, up to what an image may unpack to.
type layerReader struct {
	*applier
	ctx  context.Context
	r    io.Reader
	n    int64
	most int64
}

func (l *layerReader) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := l.r.Read(p)
	l.n += int64(n)
	*l.left -= int64(n)
	l.step.add(int64(n))
	switch {
	case *l.left < 0:
		return n, cloud.Errorf(cloud.Invalid, "unpacks to more than an image may hold")
	case l.n > l.most:
		return n, cloud.Errorf(cloud.Invalid, "unpacks to more than %d times its size", l.ratio)
	}
	return n, err
}
