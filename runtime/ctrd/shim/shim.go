package shim

import (
	"context"
	"flag"
	"os"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	ctdshim "github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

// Name is what the shim is called on disk. containerd only asks that it looks like a shim's.
const Name = "containerd-shim-micro-v2"

// Main is the whole program. It starts every plug-in that is registered, so a binary that holds
// containerd too has to have forgotten its plug-ins before.
func Main() {
	// containerd's shim adds its flags to the global set, where others may have theirs.
	flag.CommandLine = flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			publisher, err := ic.GetByID(plugins.EventPlugin, "publisher")
			if err != nil {
				return nil, err
			}
			stop, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
			if err != nil {
				return nil, err
			}
			return task.NewTaskService(ic.Context, publisher.(ctdshim.Publisher), stop.(shutdown.Service))
		},
	})
	ctdshim.RunShim(context.Background(), candid{manager.NewShimManager("io.containerd.runc.v2")})
}
