package handler

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

type archiveInput struct {
	ReleaseInput
	Body api.ArchiveRequest
}

type blobsInput struct {
	AppInput
	Body api.BlobQuery
}

// serveShipments answers what is needed to carry a release to another cloud.
func (h *Handler) serveShipments() {
	get(h, operation("shipment", "GET /v1/groups/{group}/apps/{app}/releases/{release}/shipment", "Show what another cloud needs to run a release"),
		func(ctx context.Context, in *ReleaseInput) (api.Shipment, error) {
			rel, err := h.shipped(in)
			if err != nil {
				return api.Shipment{}, err
			}
			blobs, err := h.Images.Blobs(ctx, rel.Spec.Image.Digest)
			if err != nil {
				return api.Shipment{}, err
			}
			s := api.Shipment{Digest: rel.Spec.Image.Digest, Image: rel.Spec.Image.Name, Blobs: []api.Blob{}, Spec: rel.Shipped(), Env: slices.Sorted(maps.Keys(rel.Spec.Env))}
			if s.Env == nil {
				s.Env = []string{}
			}
			for _, b := range blobs {
				s.Blobs = append(s.Blobs, api.Blob{Digest: b.Digest, Size: b.Size})
			}
			return s, nil
		})
	h.serveArchive()
	get(h, operation("blobs", "POST /v1/groups/{group}/apps/{app}/blobs", "Say which blobs of an image have to be sent with a push of its archive"),
		func(ctx context.Context, in *blobsInput) (api.MissingBlobs, error) {
			// Only what releases of the group have counts as here: nobody learns what others run.
			images := map[string]bool{}
			for app := range h.Store.State().Apps(in.Group) {
				for rel := range h.Store.State().Releases(app.AppRef) {
					if !rel.Pruned {
						images[rel.Spec.Image.Digest] = true
					}
				}
			}
			have := map[string]bool{}
			for digest := range images {
				blobs, err := h.Images.Blobs(ctx, digest)
				if err != nil && cloud.CodeOf(err) != cloud.NotFound {
					return api.MissingBlobs{}, err
				}
				for _, b := range blobs {
					have[b.Digest] = true
				}
			}
			missing := []string{}
			for _, d := range in.Body.Digests {
				if !have[d] {
					missing = append(missing, d)
				}
			}
			return api.MissingBlobs{Missing: missing}, nil
		})
}

// shipped returns a release that can be carried to another cloud.
func (h *Handler) shipped(in *ReleaseInput) (*cloud.Release, error) {
	ref, err := in.ref()
	if err != nil {
		return nil, err
	}
	_, rel, err := h.Store.State().MustRelease(ref)
	if err != nil {
		return nil, err
	}
	if rel.Pruned {
		return nil, cloud.Errorf(cloud.NotFound, "the image of %s has been deleted", ref).WithCommand("micro releases %s", ref.App)
	}
	return rel, nil
}

func (h *Handler) serveArchive() {
	op := operation("archive", "POST /v1/groups/{group}/apps/{app}/releases/{release}/archive", "Send a release's image")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A tar of an OCI layout, without the blobs that the caller has",
		Content:     map[string]*huma.MediaType{"application/x-tar": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}}
	serve(h, op, func(ctx context.Context, in *archiveInput) (*huma.StreamResponse, error) {
		rel, err := h.shipped(&in.ReleaseInput)
		if err != nil {
			return nil, err
		}
		digest := rel.Spec.Image.Digest
		if _, err := h.Images.Blobs(ctx, digest); err != nil {
			return nil, err // once the answer has begun it can only break off
		}
		without := map[string]bool{}
		for _, d := range in.Body.Without {
			without[d] = true
		}
		requestOf(ctx).noDeadline()
		ctx, end := h.untilStopped(ctx)
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			defer end()
			_, w := raw(hc)
			w.Header().Set("Content-Type", "application/x-tar")
			if err := h.Images.Export(ctx, digest, without, w); err != nil {
				h.Log.Warn("an image was not sent to its end", "image", digest, "err", err)
				panic(http.ErrAbortHandler) // so that the caller does not take it for the whole
			}
		}}, nil
	})
}
