package shim

import (
	"bytes"
	"context"
	"io"

	"github.com/containerd/containerd/api/types"
	ctdshim "github.com/containerd/containerd/v2/pkg/shim"
)

// brief answers without asking runc where only the shim is asked about. containerd wants to know once,
// before the first container, what the shim mounts by itself; it has no options for us then, in which
// runc's path would be, and would ask again at each start if there was no answer.
type brief struct{ ctdshim.Shim }

func (b brief) Info(ctx context.Context, options io.Reader) (*types.RuntimeInfo, error) {
	given, err := io.ReadAll(options)
	if err != nil || len(given) == 0 {
		return &types.RuntimeInfo{Name: b.Name()}, err
	}
	return b.Shim.Info(ctx, bytes.NewReader(given))
}
