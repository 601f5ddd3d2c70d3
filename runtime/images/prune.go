package images

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
)

// fresh images are spared by Prune: whoever has just fetched or built one may be about to write down
// that it is needed, where keep was read before.
const fresh = 10 * time.Second

// Prune removes every image of ours that keep does not name by digest and that has no name by Tag. Images of the last ten seconds stay, and what a
// build's cache still needs stays with it.
//
// An image may come into use at any moment, so keep is asked before each image is removed, and once more
// after that, as long as nothing is lost: a lease holds what an image is made of until the end.
func (s *Store) Prune(ctx context.Context, keep func() map[string]bool) error {
	ctx = s.ns(ctx)
	lease, err := s.client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(time.Hour))
	if err != nil {
		return fmt.Errorf("make a lease: %w", err)
	}
	err = s.removeUnused(ctx, lease, keep)
	if derr := s.client.LeasesService().Delete(ctx, lease, leases.SynchronousDelete); derr != nil && err == nil {
		err = fmt.Errorf("collect what no image needs: %w", derr)
	}
	return err
}

// Collect removes content and files that nothing refers to, before it returns.
func (s *Store) Collect(ctx context.Context) error {
	ctx = s.ns(ctx)
	service := s.client.LeasesService()
	lease, err := service.Create(ctx, leases.WithRandomID(), leases.WithExpiration(time.Hour))
	if err != nil {
		return fmt.Errorf("make a lease: %w", err)
	}
	if err := service.Delete(ctx, lease, leases.SynchronousDelete); err != nil {
		return fmt.Errorf("collect what no image needs: %w", err)
	}
	return nil
}

// removeUnused removes the records of images that are not needed.
func (s *Store) removeUnused(ctx context.Context, lease leases.Lease, keep func() map[string]bool) error {
	store := s.client.ImageService()
	all, err := store.List(ctx)
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	named := map[string]bool{}
	for _, r := range all {
		if !isRecord(r.Name) {
			named[r.Target.Digest.String()] = true
		}
	}
	for _, listed := range all {
		d, ours := strings.CutPrefix(listed.Name, Name+"@")
		if !ours || named[d] {
			continue
		}
		r, err := store.Get(ctx, listed.Name)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("get image %s: %w", d, err)
		}
		if s.now().Sub(r.UpdatedAt) < fresh || keep()[d] {
			continue
		}
		if err := s.client.LeasesService().AddResource(ctx, lease, leases.Resource{ID: d, Type: "content"}); err != nil {
			return fmt.Errorf("hold image %s: %w", d, err)
		}
		// The target is named, lest a push that has just brought the same image back lose it.
		if err := store.Delete(ctx, r.Name, images.DeleteTarget(&r.Target)); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove image %s: %w", d, err)
		}
		if !keep()[d] {
			continue
		}
		if _, err := store.Create(ctx, r); err != nil && !errdefs.IsAlreadyExists(err) {
			return fmt.Errorf("put image %s back: %w", d, err)
		}
	}
	return nil
}
