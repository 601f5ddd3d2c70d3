package images

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/protoduction/micro/cloud"
)

// maxMetadata bounds a manifest, an index or a config; the distribution spec asks for 4 MiB of manifest.
const maxMetadata = 8 << 20

// maxNesting bounds indexes of indexes.
const maxNesting = 3

// choose follows indexes down to the manifest of this machine's platform. bring makes a blob be in the
// store; name is for errors.
func (s *Store) choose(ctx context.Context, name string, d ocispec.Descriptor, bring func(context.Context, ocispec.Descriptor) error) (ocispec.Descriptor, error) {
	none := ocispec.Descriptor{}
	for range maxNesting {
		if d.Size > maxMetadata {
			return none, cloud.Errorf(cloud.Invalid, "image %s: a manifest of %d bytes is too large", name, d.Size)
		}
		if !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType) {
			return none, cloud.Errorf(cloud.Invalid, "image %s: of type %q, which is no container image", name, d.MediaType)
		}
		if err := bring(ctx, d); err != nil {
			return none, err
		}
		if images.IsManifestType(d.MediaType) {
			return d, nil
		}
		var index ocispec.Index
		if err := s.readJSON(ctx, d, &index); err != nil {
			return none, cloud.Errorf(cloud.Invalid, "image %s: its index: %w", name, err)
		}
		var has []string
		var fit []ocispec.Descriptor
		for _, m := range index.Manifests {
			if isAttestation(m) {
				continue
			}
			if m.Platform == nil || s.platform.Match(*m.Platform) {
				fit = append(fit, m)
				continue
			}
			has = append(has, platforms.Format(*m.Platform))
		}
		if len(fit) == 0 {
			return none, s.wrongPlatform(name, has)
		}
		slices.SortStableFunc(fit, func(a, b ocispec.Descriptor) int {
			switch {
			case a.Platform == nil || b.Platform == nil:
				return 0
			case s.platform.Less(*a.Platform, *b.Platform):
				return -1
			case s.platform.Less(*b.Platform, *a.Platform):
				return 1
			}
			return 0
		})
		d = fit[0]
	}
	return none, cloud.Errorf(cloud.Invalid, "image %s: indexes within indexes", name)
}

// isAttestation tells what buildx puts beside images in an index: statements about them.
func isAttestation(d ocispec.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" ||
		d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

// ownPlatform returns the platform of this machine, "linux/amd64".
func ownPlatform() string { return platforms.Format(platforms.DefaultSpec()) }

func (s *Store) wrongPlatform(name string, has []string) error {
	slices.Sort(has)
	what := strings.Join(slices.Compact(has), ", ")
	if what == "" {
		what = "nothing at all"
	}
	return cloud.Errorf(cloud.Invalid, "image %s: not for %s, but for %s", name, ownPlatform(), what).
		WithHint("build it for this machine: docker build --platform %s", ownPlatform())
}

// imageConfig is what unpacking needs of an image's config.
type imageConfig struct {
	OS           string         `json:"os"`
	Architecture string         `json:"architecture"`
	Variant      string         `json:"variant"`
	RootFS       ocispec.RootFS `json:"rootfs"`
}

func (s *Store) checkPlatform(name string, c imageConfig) error {
	if c.OS == "" && c.Architecture == "" {
		return nil // some tools leave it out; the kernel will tell
	}
	p := ocispec.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
	if !s.platform.Match(p) {
		return s.wrongPlatform(name, []string{platforms.Format(p)})
	}
	return nil
}

func (s *Store) readJSON(ctx context.Context, d ocispec.Descriptor, v any) error {
	info, err := s.client.ContentStore().Info(ctx, d.Digest)
	if err != nil {
		return err
	}
	if info.Size > maxMetadata {
		return fmt.Errorf("%d bytes are too many", info.Size)
	}
	raw, err := content.ReadBlob(ctx, s.client.ContentStore(), ocispec.Descriptor{Digest: d.Digest, Size: info.Size})
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}
