package images

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// repository is the path under which nodes offer their images to each other.
const repository = "image"

// Handler serves this node's images to other nodes, as the OCI distribution spec 1.1 has it, for reading and by digest
// alone: manifests and blobs, also parts of them. It checks no caller: whoever reaches it may read all images.
func (s *Store) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /v2/"+repository+"/manifests/{digest}", func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, true) })
	mux.HandleFunc("GET /v2/"+repository+"/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, false) })
	return mux
}

func (s *Store) serve(w http.ResponseWriter, r *http.Request, manifest bool) {
	d, err := digest.Parse(r.PathValue("digest"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	ctx := s.ns(r.Context())
	blob, err := s.client.ContentStore().ReaderAt(ctx, ocispec.Descriptor{Digest: d})
	switch {
	case errdefs.IsNotFound(err):
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", d.String()+" is not on this node")
		return
	case err != nil:
		s.log.Error("serve an image to another node", "digest", d.String(), "err", err)
		refuse(w, http.StatusInternalServerError, "UNKNOWN", "cannot read "+d.String())
		return
	}
	defer blob.Close()
	kind := "application/octet-stream"
	if manifest {
		if kind, err = manifestType(blob); err != nil {
			refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", d.String()+" is no manifest")
			return
		}
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("ETag", `"`+d.String()+`"`)
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(blob, 0, blob.Size()))
}

// manifestType returns the media type that a manifest says of itself; those of OCI need not say it.
func manifestType(blob content.ReaderAt) (string, error) {
	var m struct {
		MediaType string            `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
		Layers    []json.RawMessage `json:"layers"`
	}
	if blob.Size() > maxMetadata {
		return "", errdefs.ErrInvalidArgument
	}
	if err := json.NewDecoder(io.NewSectionReader(blob, 0, blob.Size())).Decode(&m); err != nil {
		return "", err
	}
	switch {
	case m.MediaType != "":
		return m.MediaType, nil
	case m.Manifests != nil:
		return ocispec.MediaTypeImageIndex, nil
	case m.Layers != nil:
		return ocispec.MediaTypeImageManifest, nil
	}
	return "", errdefs.ErrInvalidArgument
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

// Has reports whether an image is on this node, as a whole.
func (s *Store) Has(ctx context.Context, d string) bool {
	_, err := s.Get(ctx, d)
	return err == nil
}
