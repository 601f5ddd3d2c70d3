package child

import (
	"context"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"google.golang.org/grpc"

	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/remote"
)

func remoteConfig(s build.Settings) remote.Config {
	return remote.Config{CertsDir: s.CertsDir, DockerConfig: s.DockerConfig}
}

func registryHosts(ctx context.Context, s build.Settings) docker.RegistryHosts {
	return remoteConfig(s).Hosts(ctx)
}

// credentials provides the credentials of registries. BuildKit asks the session for them, not the hosts' authorizer.
type credentials struct {
	auth.UnimplementedAuthServer
	from remote.Config
}

var _ session.Attachable = credentials{}

func (c credentials) Register(s *grpc.Server) { auth.RegisterAuthServer(s, c) }

func (c credentials) Credentials(_ context.Context, r *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	user, secret, err := c.from.Credentials(r.Host)
	if err != nil {
		return nil, err
	}
	return &auth.CredentialsResponse{Username: user, Secret: secret}, nil
}
