package shim

import (
	"context"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"github.com/containerd/containerd/api/types"
	ctdshim "github.com/containerd/containerd/v2/pkg/shim"
)

// candid says at once that it makes no mounts of its own. A shim that says nothing is executed once more,
// at every start of a container, to be asked.
type candid struct{ ctdshim.Shim }

func (c candid) Start(ctx context.Context, p *bootapi.BootstrapParams) (*bootapi.BootstrapResult, error) {
	r, err := c.Shim.Start(ctx, p)
	if err != nil {
		return nil, err
	}
	return r, r.AddExtension(&types.MountCapabilities{})
}
