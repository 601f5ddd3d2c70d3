package child

import (
	"context"
	"slices"

	"github.com/moby/buildkit/util/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/protoduction/micro/runtime/seccomp"
)

// unwanted are capabilities of BuildKit's default that no step needs. Steps keep some capabilities that containers don't
// have, because steps create the files of images, with file capabilities.
var unwanted = []string{"CAP_NET_RAW", "CAP_MKNOD", "CAP_AUDIT_WRITE"}

// confined reduces the privileges of steps. It does so in a network's Set, which is the last hook that can change a step's
// specification.
type confined struct{ network.Provider }

// New implements network.Provider.
func (c confined) New(ctx context.Context, hostname string, opt network.NamespaceOptions) (network.Namespace, error) {
	ns, err := c.Provider.New(ctx, hostname, opt)
	if err != nil {
		return nil, err
	}
	return confinedStep{ns}, nil
}

type confinedStep struct{ network.Namespace }

// Set implements network.Namespace.
func (c confinedStep) Set(s *specs.Spec) error {
	s.Process.NoNewPrivileges = true
	if caps := s.Process.Capabilities; caps != nil {
		for _, set := range []*[]string{&caps.Bounding, &caps.Effective, &caps.Permitted, &caps.Inheritable, &caps.Ambient} {
			*set = slices.DeleteFunc(slices.Clone(*set), func(c string) bool { return slices.Contains(unwanted, c) })
		}
	}
	if s.Linux != nil && s.Linux.Seccomp != nil {
		seccomp.Tighten(s.Linux.Seccomp)
	}
	return c.Namespace.Set(s)
}
