package debimage

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// writeArchive writes an OCI layout (image-spec, image-layout.md) of one image in a tar, with the
// manifest.json that Docker older than 25 looks for. The layer is not compressed: reading a big zstd or
// gzip layer costs more than reading the bytes.
func writeArchive(w io.Writer, r Recipe, t tree) error {
	layer, err := os.CreateTemp("", "layer")
	if err != nil {
		return err
	}
	defer os.Remove(layer.Name())
	defer layer.Close()
	hash := sha256.New()
	if err := t.write(io.MultiWriter(layer, hash)); err != nil {
		return err
	}
	size, err := layer.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return err
	}
	layerDesc := v1.Descriptor{
		MediaType: v1.MediaTypeImageLayer,
		Digest:    digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(hash.Sum(nil))),
		Size:      size,
	}

	a := &archive{tar.NewWriter(w)}
	config, err := a.blob(v1.MediaTypeImageConfig, imageConfig(r, t.newest(), layerDesc.Digest))
	if err != nil {
		return err
	}
	manifest, err := a.blob(v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    config,
		Layers:    []v1.Descriptor{layerDesc},
	})
	if err != nil {
		return err
	}
	manifest.Platform = &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	manifest.Annotations = map[string]string{
		"io.containerd.image.name": r.Name,
		v1.AnnotationRefName:       r.Name[strings.LastIndex(r.Name, ":")+1:],
	}
	if err := a.add(blobPath(layerDesc.Digest), layer, size); err != nil {
		return err
	}
	if err := a.json("index.json", v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{manifest},
	}); err != nil {
		return err
	}
	if err := a.json("manifest.json", []map[string]any{{
		"Config":   blobPath(config.Digest),
		"RepoTags": []string{r.Name},
		"Layers":   []string{blobPath(layerDesc.Digest)},
	}}); err != nil {
		return err
	}
	if err := a.json(v1.ImageLayoutFile, v1.ImageLayout{Version: v1.ImageLayoutVersion}); err != nil {
		return err
	}
	return a.Close()
}

func imageConfig(r Recipe, created time.Time, layer digest.Digest) v1.Image {
	env := slices.Concat([]string{"LANG=C.UTF-8"}, r.Env)
	if !slices.ContainsFunc(r.Env, func(kv string) bool { return strings.HasPrefix(kv, "PATH=") }) {
		env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, env...)
	}
	config := v1.ImageConfig{
		Env: env, Entrypoint: r.Entrypoint, Cmd: r.Cmd, WorkingDir: r.Dir, StopSignal: r.StopSignal,
	}
	if r.Port != 0 {
		config.ExposedPorts = map[string]struct{}{strconv.Itoa(r.Port) + "/tcp": {}}
	}
	if r.Volume != "" {
		config.Volumes = map[string]struct{}{r.Volume: {}}
	}
	created = created.UTC()
	return v1.Image{
		Created:  &created,
		Platform: v1.Platform{OS: "linux", Architecture: runtime.GOARCH},
		Config:   config,
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer}},
		History: []v1.History{{
			Created: &created, CreatedBy: "debian packages: " + strings.Join(r.Packages, " "),
		}},
	}
}

// archive is a layout being written.
type archive struct{ *tar.Writer }

func (a *archive) blob(mediaType string, content any) (v1.Descriptor, error) {
	text, err := json.Marshal(content)
	if err != nil {
		return v1.Descriptor{}, err
	}
	desc := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	return desc, a.add(blobPath(desc.Digest), strings.NewReader(string(text)), desc.Size)
}

func (a *archive) json(name string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return a.add(name, strings.NewReader(string(text)), int64(len(text)))
}

func (a *archive) add(name string, body io.Reader, size int64) error {
	header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0)}
	if err := a.WriteHeader(header); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := io.Copy(a, body); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func blobPath(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }
