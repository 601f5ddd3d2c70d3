package child

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/protoduction/micro/runtime/images"
	"github.com/protoduction/micro/runtime/layer"
)

// origins remembers which snapshot each layer of this process's builds was packed from. An image of a build is unpacked at
// once, and the files are on the disk already.
type origins struct {
	mu   sync.Mutex // guards from
	from map[digest.Digest]string
}

func (o *origins) add(blob digest.Digest, snapshot string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.from == nil || len(o.from) >= 1<<14 { // a layer that is forgotten is unpacked from its archive
		o.from = map[digest.Digest]string{}
	}
	o.from[blob] = snapshot
}

func (o *origins) of(blob digest.Digest) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.from[blob]
}

// packing is a content store that notes the origin of each blob. BuildKit writes a layer's blob under the name of the
// snapshot that it is made from.
type packing struct {
	content.Store
	origins *origins
}

// Writer implements content.Store.
func (p packing) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	w, err := p.Store.Writer(ctx, opts...)
	if err != nil {
		return nil, err
	}
	return &packer{w, p.origins, o.Ref}, nil
}

type packer struct {
	content.Writer
	origins *origins
	ref     string
}

// Commit implements content.Writer.
func (p *packer) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	sum := p.Digest()
	err := p.Writer.Commit(ctx, size, expected, opts...)
	if sum != "" {
		p.origins.add(sum, p.ref) // also where the store had it
	}
	return err
}

// relinking is an applier that gives a new snapshot the files of the snapshot that a layer was packed from.
type relinking struct {
	diff.Applier
	snapshots snapshot.Snapshotter
	leases    leases.Manager
	origins   *origins
}

// Apply implements diff.Applier.
func (r relinking) Apply(ctx context.Context, d ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	if origin := r.origins.of(d.Digest); origin != "" && d.MediaType == ocispec.MediaTypeImageLayer {
		switch err := r.link(ctx, origin, d.Digest, mounts); {
		case err == nil:
			return d, nil // an archive that is not compressed describes itself
		case !errors.Is(err, layer.ErrNotLinked):
			return ocispec.Descriptor{}, err
		}
	}
	return r.Applier.Apply(ctx, d, mounts, opts...)
}

func (r relinking) link(ctx context.Context, origin string, blob digest.Digest, mounts []mount.Mount) error {
	info, err := r.snapshots.Stat(ctx, origin)
	if err != nil {
		return errors.Join(layer.ErrNotLinked, err)
	}
	// The view is removed with its lease.
	ctx, done, err := leaseutil.WithLease(ctx, r.leases, leaseutil.MakeTemporary)
	if err != nil {
		return errors.Join(layer.ErrNotLinked, err)
	}
	view, err := r.snapshots.View(ctx, "relink-"+rand.Text(), origin)
	if err != nil {
		return errors.Join(layer.ErrNotLinked, err, done(context.WithoutCancel(ctx)))
	}
	from, release, err := view.Mount()
	if err == nil {
		err = errors.Join(layer.Link(ctx, from, mounts), release())
	}
	if err == nil { // so that its files are not counted twice
		_, err = r.snapshots.Update(ctx, snapshots.Info{Name: info.Name, Labels: map[string]string{images.SharedLabel: blob.String()}}, "labels."+images.SharedLabel)
	}
	return errors.Join(err, done(context.WithoutCancel(ctx)))
}
