package images

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/protoduction/micro/runtime/engine"
)

// fresh images are spared by Prune: whoever has just fetched or built one may be about to write down
// that it is needed, where keep was read before.
const fresh = 10 * time.Second

// Prune removes every image of ours that keep does not name by digest and that has no name by Tag, and
// returns the bytes of content and files that came free. Images of the last ten seconds stay, and what a
// build's cache still needs stays with it.
func (s *Store) Prune(ctx context.Context, keep map[string]bool) (int64, error) {
	ctx = s.ns(ctx)
	store := s.client.ImageService()
	all, err := store.List(ctx)
	if err != nil {
		return 0, fmt.Errorf("list images: %w", err)
	}
	named := map[string]bool{}
	for _, r := range all {
		if !strings.HasPrefix(r.Name, Name+"@") {
			named[r.Target.Digest.String()] = true
		}
	}
	before, err := s.used(ctx)
	if err != nil {
		return 0, err
	}
	for _, r := range all {
		d, ours := strings.CutPrefix(r.Name, Name+"@")
		if !ours || keep[d] || named[d] || s.now().Sub(r.UpdatedAt) < fresh {
			continue
		}
		// The target is named, lest a push that has just brought the same image back lose it.
		if err := store.Delete(ctx, r.Name, images.DeleteTarget(&r.Target)); err != nil && !errdefs.IsNotFound(err) {
			return 0, fmt.Errorf("remove image %s: %w", d, err)
		}
	}
	if err := s.collect(ctx); err != nil {
		return 0, err
	}
	after, err := s.used(ctx)
	if err != nil {
		return 0, err
	}
	return max(0, before-after), nil
}

// collect has containerd's collector run now: it does at the synchronous end of a lease.
func (s *Store) collect(ctx context.Context) error {
	service := s.client.LeasesService()
	l, err := service.Create(ctx, leases.WithRandomID())
	if err == nil {
		err = service.Delete(ctx, l, leases.SynchronousDelete)
	}
	if err != nil {
		return fmt.Errorf("collect what no image needs: %w", err)
	}
	return nil
}

// used is the size of all content and of all unpacked files.
func (s *Store) used(ctx context.Context) (int64, error) {
	var sum int64
	err := s.client.ContentStore().Walk(ctx, func(i content.Info) error {
		sum += i.Size
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure content: %w", err)
	}
	sn := s.client.SnapshotService(engine.Snapshotter)
	err = sn.Walk(ctx, func(ctx context.Context, i snapshots.Info) error {
		if i.Kind != snapshots.KindCommitted {
			return nil // what runs on it is not ours to count, and is slow to
		}
		u, err := sn.Usage(ctx, i.Name)
		if errdefs.IsNotFound(err) {
			return nil
		}
		sum += u.Size
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measure unpacked files: %w", err)
	}
	return sum, nil
}
