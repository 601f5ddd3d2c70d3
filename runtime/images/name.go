package images

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"

	"github.com/protoduction/micro/cloud"
)

// Tag gives an image a name that a Dockerfile's FROM finds without a registry, "micro.local/base:1" or
// just "base". A name that was another image's moves. Prune keeps images that have names.
func (s *Store) Tag(ctx context.Context, d, name string) error {
	full, err := FullName(name)
	if err != nil {
		return err
	}
	ctx = s.ns(ctx)
	r, err := s.client.ImageService().Get(ctx, recordName(d))
	if errdefs.IsNotFound(err) {
		return cloud.Errorf(cloud.NotFound, "name image %s: not on this node", d)
	}
	if err != nil {
		return fmt.Errorf("name image %s: %w", d, err)
	}
	return s.record(ctx, full, r.Target)
}

// Untag takes a name away again; one that isn't there is no error.
func (s *Store) Untag(ctx context.Context, name string) error {
	full, err := FullName(name)
	if err != nil {
		return err
	}
	if err := s.client.ImageService().Delete(s.ns(ctx), full); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("take the name %s away: %w", name, err)
	}
	return nil
}

// Names returns the digests of the images that have names on this node, by their full names.
func (s *Store) Names(ctx context.Context) (map[string]string, error) {
	records, err := s.client.ImageService().List(s.ns(ctx))
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	digests := map[string]string{}
	for _, r := range records {
		if !isRecord(r.Name) {
			digests[r.Name] = r.Target.Digest.String()
		}
	}
	return digests, nil
}

// FullName returns an image's name as BuildKit looks it up: "base" is "docker.io/library/base:latest".
func FullName(name string) (string, error) {
	ref, err := reference.ParseDockerRef(name)
	if err != nil {
		return "", cloud.Errorf(cloud.Invalid, "image name %q: %w", name, err)
	}
	if _, byDigest := ref.(reference.Canonical); byDigest || strings.HasPrefix(ref.String(), Name+":") {
		return "", cloud.Errorf(cloud.Invalid, "image name %q: want NAME or NAME:TAG", name)
	}
	return ref.String(), nil
}

// isRecord reports whether a name in containerd's store is that of an image's own record, which no user gave.
func isRecord(name string) bool { return strings.HasPrefix(name, Name+"@") }
