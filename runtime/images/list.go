package images

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/protoduction/micro/runtime"
)

// List has every image once for each name that Tag gave it, and once by its digest where it has none.
func (s *Store) List(ctx context.Context) ([]runtime.Image, error) {
	ctx = s.ns(ctx)
	records, err := s.client.ImageService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	named := map[string]bool{}
	for _, r := range records {
		named[r.Target.Digest.String()] = named[r.Target.Digest.String()] || !isRecord(r.Name)
	}
	var list []runtime.Image
	for _, r := range records {
		d, ours := strings.CutPrefix(r.Name, Name+"@")
		if ours && named[d] {
			continue
		}
		img, err := s.describe(ctx, r.Target)
		if errdefs.IsNotFound(err) {
			continue // on its way in or out
		}
		if err != nil {
			return nil, err
		}
		img.Created = r.CreatedAt
		if !ours {
			img.Name = r.Name
		}
		list = append(list, img)
	}
	return list, nil
}
