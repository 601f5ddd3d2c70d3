package images

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"

	"github.com/containerd/containerd/v2/core/content"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/protoduction/micro/runtime"
)

// Blobs returns what an image consists of: its manifest, its config and its layers, each once.
func (s *Store) Blobs(ctx context.Context, d string) ([]runtime.Blob, error) {
	_, all, err := s.parts(ctx, d)
	if err != nil {
		return nil, err
	}
	blobs := make([]runtime.Blob, 0, len(all))
	for _, p := range all {
		blobs = append(blobs, runtime.Blob{Digest: p.Digest.String(), Size: p.Size})
	}
	return blobs, nil
}

// parts returns the descriptors of an image and of all that it consists of, each once.
func (s *Store) parts(ctx context.Context, d string) (target ocispec.Descriptor, all []ocispec.Descriptor, err error) {
	if _, err := s.Get(ctx, d); err != nil {
		return target, nil, err
	}
	ctx = s.ns(ctx)
	r, err := s.client.ImageService().Get(ctx, recordName(d))
	if err != nil {
		return target, nil, fmt.Errorf("get image %s: %w", d, err)
	}
	m, err := s.manifest(ctx, r.Target)
	if err != nil {
		return target, nil, err
	}
	seen := map[digest.Digest]bool{}
	for _, p := range append([]ocispec.Descriptor{r.Target, m.Config}, m.Layers...) {
		if !seen[p.Digest] {
			seen[p.Digest] = true
			all = append(all, p)
		}
	}
	return r.Target, all, nil
}

// Export writes an image as the tar of an OCI layout, but for the blobs that the reader has. The same image always makes
// the same bytes.
func (s *Store) Export(ctx context.Context, d string, without map[string]bool, w io.Writer) error {
	target, all, err := s.parts(ctx, d)
	if err != nil {
		return err
	}
	ctx = s.ns(ctx)
	out := tar.NewWriter(w)
	// Media types of descriptors are those that the record has; a builder may have noted more in it.
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{{MediaType: target.MediaType, Digest: target.Digest, Size: target.Size}}}
	index.SchemaVersion = 2
	for _, f := range []struct {
		name    string
		content any
	}{{ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}}, {ocispec.ImageIndexFile, index}} {
		raw, err := json.Marshal(f.content)
		if err != nil {
			return err
		}
		if err := out.WriteHeader(&tar.Header{Name: f.name, Typeflag: tar.TypeReg, Size: int64(len(raw)), Mode: 0o644}); err != nil {
			return err
		}
		if _, err := out.Write(raw); err != nil {
			return err
		}
	}
	for _, p := range all {
		if !without[p.Digest.String()] {
			if err := s.exportBlob(ctx, out, p); err != nil {
				return fmt.Errorf("export image %s: %w", d, err)
			}
		}
	}
	return out.Close()
}

func (s *Store) exportBlob(ctx context.Context, out *tar.Writer, p ocispec.Descriptor) error {
	blob, err := s.client.ContentStore().ReaderAt(ctx, p)
	if err != nil {
		return err
	}
	defer blob.Close()
	name := path.Join(ocispec.ImageBlobsDir, p.Digest.Algorithm().String(), p.Digest.Encoded())
	if err := out.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: blob.Size(), Mode: 0o644}); err != nil {
		return err
	}
	_, err = io.Copy(out, content.NewReader(blob))
	return err
}
