package images

import (
	"context"
	"net/http"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Source is another node that may have an image.
type Source struct {
	Node   cloud.NodeName
	Client *http.Client // whose requests all go to the Handler of the node
}

// Fetch brings an image from other nodes, which are asked in their order. Each blob comes from the first node that
// has it, and where a connection breaks in the middle it goes on from there. All that comes is checked by its digest.
func (s *Store) Fetch(ctx context.Context, d string, from []Source, progress func(runtime.Progress)) (runtime.Image, error) {
	if img, err := s.Get(ctx, d); err == nil || cloud.CodeOf(err) != cloud.NotFound || len(from) == 0 {
		return img, err
	}
	ref, err := reference.ParseDockerRef(recordName(d))
	if err != nil {
		return runtime.Image{}, cloud.Errorf(cloud.Invalid, "image %q: not a digest", d)
	}
	var hosts []docker.RegistryHost
	for _, f := range from {
		hosts = append(hosts, docker.RegistryHost{
			Client: f.Client, Host: string(f.Node), Scheme: "http", Path: "/v2",
			Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
		})
	}
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: func(string) ([]docker.RegistryHost, error) { return hosts, nil }})
	ctx, done, err := s.work(ctx)
	if err != nil {
		return runtime.Image{}, err
	}
	defer done()
	target, err := s.pull(ctx, resolver, d, ref, newReporter(progress))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return runtime.Image{}, cloud.Errorf(cloud.Unavailable, "image %s: none of %d other nodes has sent it: %w", d, len(from), err).
			WithHint("it is tried again; if no node has it any more, push it again")
	}
	return s.keep(ctx, target)
}
