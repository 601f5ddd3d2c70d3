package handler

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Images are those in the node's store.
type Images interface {
	// Load reads an archive and returns its image, whose name is in full. The name does not count yet: see ApplyNames.
	Load(ctx context.Context, archive io.Reader, progress func(runtime.Progress)) (runtime.Image, error)
	// FullName returns a name as FROM lines are looked up by it: "docker.io/library/base:latest" for "base".
	FullName(name string) (string, error)
	// ApplyNames gives the node's images the names that they have in the state. What cannot be named now is named later.
	ApplyNames(ctx context.Context)
	// Blobs returns what an image consists of.
	Blobs(ctx context.Context, digest string) ([]runtime.Blob, error)
	// Export writes an image as the tar of an OCI layout, but for some blobs.
	Export(ctx context.Context, digest string, without map[string]bool, w io.Writer) error
	// List has every image once for each of its names.
	List(ctx context.Context) ([]runtime.Image, error)
}

func (h *Handler) serveImages() {
	get(h, operation("images", "GET /v1/images", "List the images in the node's store"),
		func(ctx context.Context, in *Paging) (api.List[api.Image], error) {
			images, err := h.Images.List(ctx)
			if err != nil {
				return api.List[api.Image]{}, err
			}
			slices.SortFunc(images, func(a, b runtime.Image) int { return strings.Compare(imageKey(a), imageKey(b)) })
			state, sees := h.Store.State(), h.sees(ctx)
			used := map[string][]string{}
			for rel := range state.AllReleases() {
				if sees(rel.AppRef) {
					used[rel.Spec.Image.Digest] = append(used[rel.Spec.Image.Digest], rel.ReleaseRef.String())
				}
			}
			all := state.May(requestOf(ctx).actor, cloud.MayRead, cloud.Scope{}) == nil
			visible := filter(slices.Values(images), func(i runtime.Image) bool { return all || len(used[i.Digest]) > 0 })
			return page(visible, *in, imageKey, func(i runtime.Image) api.Image { return image(i, used[i.Digest]) }), nil
		})
	get(h, upload(operation("load-image", "POST /v1/images", "Keep an archive's image under its own name, for FROM lines on all nodes"), "An OCI layout or docker archive, plain or compressed"),
		func(ctx context.Context, _ *nothing) (api.Image, error) {
			q := requestOf(ctx)
			defer q.noDeadline()
			i, err := h.Images.Load(ctx, http.MaxBytesReader(nil, io.NopCloser(q.uploadOf()), api.MaxUpload), func(runtime.Progress) {})
			if err != nil {
				return api.Image{}, err
			}
			n := 0
			if _, err := h.update(ctx, "load-image", i.Name, &n, func(s *cloud.State) ([]cloud.Change, error) { return s.NameImage(i.Name, i.Digest), nil }); err != nil {
				return api.Image{}, err
			}
			h.Images.ApplyNames(ctx)
			var used []string
			for rel := range h.Store.State().AllReleases() {
				if rel.Spec.Image.Digest == i.Digest {
					used = append(used, rel.ReleaseRef.String())
				}
			}
			return image(i, used), nil
		})
	get(h, operation("remove-image-name", "DELETE /v1/images/{name}", "Remove a name that an image has; the image goes with the next clean-up that finds it unused"),
		func(ctx context.Context, in *struct {
			Name string `path:"name" maxLength:"512"`
		}) (api.Changed, error) {
			n := 0
			full, err := h.Images.FullName(in.Name)
			if err != nil {
				return api.Changed{}, err
			}
			changed, err := h.update(ctx, "remove-image-name", full, &n, func(s *cloud.State) ([]cloud.Change, error) { return s.RemoveImageName(full) })
			if err != nil {
				return api.Changed{}, err
			}
			h.Images.ApplyNames(ctx)
			return changed, nil
		})
}

func imageKey(i runtime.Image) string { return i.Name + "@" + i.Digest }

func image(i runtime.Image, used []string) api.Image {
	if used == nil {
		used = []string{}
	}
	return api.Image{Name: i.Name, Digest: i.Digest, Size: i.Size, Created: i.Created, Used: used}
}
