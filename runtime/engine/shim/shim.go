package shim

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/core/mount"
	ctdshim "github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/go-runc"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

// Name is what the shim is called on disk. containerd only asks that it looks like a shim's.
const Name = "containerd-shim-micro-v2"

// tasks is the folder of containerd's state that bundles are in, below a folder for the namespace.
const tasks = "io.containerd.runtime.v2.task"

// Main is the whole program. It starts every plug-in that is registered, so a binary that holds
// containerd too has to have forgotten its plug-ins before.
func Main() {
	if err := limitResources(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	// containerd's shim adds its flags to the global set, where others may have theirs.
	flag.CommandLine = flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	temp := tempFolder()
	if temp != "" && mount.SetTempMountLocation(temp) != nil {
		temp = "" // then mounts are where the system has temporary files
	}
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
			tasks, err := task.NewTaskService(ending{ic.Context}, publisher.(ctdshim.Publisher), stop.(shutdown.Service))
			runc.Monitor = starter{runc.Monitor} // which that has set
			return &service{
				TTRPCTaskService: tasks, temp: temp, logs: map[string]chan struct{}{},
				fence: &fence{kill: killContainer(tasks), ids: map[string]bool{}},
			}, err
		},
	})
	// Nobody reads the log that containerd has in a container's folder: it may not be the first one's shim.
	ownLog := func(c *ctdshim.Config) { c.NoSetupLogger = true }
	ctdshim.RunShim(context.Background(), brief{manager.NewShimManager("io.containerd.runc.v2")}, ownLog)
}
