package child

import (
	"context"
	"slices"

	"github.com/moby/buildkit/util/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/protoduction/micro/runtime/seccomp"
)

// unwanted are capabilities that BuildKit gives a step and that no step needs. Others that a container does not
// have stay: a step makes the files of an image, capabilities of files included.
var unwanted = []string{"CAP_NET_RAW", "CAP_MKNOD", "CAP_AUDIT_WRITE"}

// confined makes networks whose steps have no more rights than they need. A network's Set is the last that
// has a say in the specification of a step.
type confined struct{ network.Provider }

// New is network.Provider's.
func (c confined) New(ctx context.Context, hostname string, opt network.NamespaceOptions) (network.Namespace, error) {
	ns, err := c.Provider.New(ctx, hostname, opt)
	if err != nil {
		return nil, err
	}
	return confinedStep{ns}, nil
}

type confinedStep struct{ network.Namespace }

// Set is network.Namespace's.
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
