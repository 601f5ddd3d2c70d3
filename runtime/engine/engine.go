package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/cmd/containerd/server"
	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	ctdplugins "github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/errdefs"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"

	"github.com/protoduction/micro/cloud"
)

// Snapshotter is the one that images are unpacked into and containers run on.
const Snapshotter = "overlayfs"

// Version returns containerd's version, such as "v2.4.2". It comes from containerd itself, because a test has no list of its
// modules.
func Version() string {
	release, _, _ := strings.Cut(version.Version, "+")
	return "v" + release
}

// Config says where an Engine keeps its things. All folders are absolute.
type Config struct {
	Root   string // on disk; holds images and snapshots
	State  string // at most 40 characters; see StateDir. Gone after a reboot, or else swept
	Logger *slog.Logger
}

// Bundle returns the folder that containerd has for a running container. The pattern "*" stands for any.
func (c Config) Bundle(id string) string {
	return filepath.Join(c.State, "io.containerd.runtime.v2.task", namespace, id)
}

// namespace is the one of containerd's that all images and containers are in.
const namespace = "micro"

// Engine is containerd within this process.
type Engine struct {
	cfg    Config
	log    *slog.Logger
	server *server.Server
	client *client.Client
	grpc   []grpcService

	mu     sync.Mutex // guards socket
	socket *socket
}

// pluginType is that of our own plug-in, through which containerd hands out its in-memory client.
const pluginType plugin.Type = "io.protoduction.micro.v1"

// engineKey is the context key under which our plug-in finds the Engine that is being opened.
type engineKey struct{}

// containerd keeps one registry a process, and a name can be registered in it only once.
var register = sync.OnceFunc(func() {
	registry.Register(&plugin.Registration{
		Type: pluginType,
		ID:   "client",
		Requires: []plugin.Type{
			ctdplugins.EventPlugin, ctdplugins.LeasePlugin, ctdplugins.SandboxStorePlugin,
			ctdplugins.TransferPlugin, ctdplugins.MountManagerPlugin, ctdplugins.ServicePlugin,
			ctdplugins.GRPCPlugin, ctdplugins.SnapshotPlugin,
		},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			e, ok := ic.Context.Value(engineKey{}).(*Engine)
			if !ok {
				return nil, plugin.ErrSkipPlugin
			}
			return struct{}{}, e.connect(ic)
		},
	})
})

// Open starts containerd, which takes up the containers that still run. Close ends it. containerd forgets
// how containers ended while it did not run: containers.KeepExits, called before Open, writes that down.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := PrepareState(cfg.State); err != nil {
		return nil, err
	}
	if err := errors.Join(killOrphans(cfg), clearTemporary(cfg.State)); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, log: cfg.Logger}
	register()
	containerdLog.redirect(cfg.Logger)

	sc := &srvconfig.Config{
		Version: version.ConfigVersion,
		Root:    cfg.Root,
		State:   cfg.State,
		DisabledPlugins: []string{
			"io.containerd.ttrpc.v1.task", // the shim's own service, where the shim is this same binary
		},
		RequiredPlugins: []string{
			"io.containerd.metadata.v1.bolt", "io.containerd.runtime.v2.task",
			"io.containerd.server.v1.ttrpc", "io.containerd.snapshotter.v1." + Snapshotter,
			string(pluginType) + ".client",
		},
		Plugins: map[string]any{
			// Nobody listens on this address; shims hash it into the name of their socket.
			"io.containerd.server.v1.grpc":  map[string]any{"address": filepath.Join(cfg.State, "c")},
			"io.containerd.server.v1.ttrpc": map[string]any{"address": filepath.Join(cfg.State, "c.ttrpc")},
			"io.containerd.shim.v1.manager": map[string]any{"socket_dir": filepath.Join(cfg.State, "s")},
		},
	}
	if err := server.CreateTopLevelDirectories(sc); err != nil {
		return nil, fmt.Errorf("containerd's folders: %w", err)
	}
	// The process's life, not the caller's: containerd's loops hold on to this context.
	ctx = context.WithValue(e.Context(context.WithoutCancel(ctx)), engineKey{}, e)
	srv, err := server.New(ctx, sc)
	if err != nil {
		return nil, fmt.Errorf("start containerd in %s: %w", cfg.Root, err)
	}
	e.server = srv
	if err := srv.Start(ctx); err != nil {
		srv.Stop()
		return nil, fmt.Errorf("start containerd in %s: %w", cfg.State, err)
	}
	srv.Wait()
	return e, nil
}

// connect is called while containerd starts, when all of its services are there.
func (e *Engine) connect(ic *plugin.InitContext) error {
	c, err := client.New("", client.WithInMemoryServices(ic), client.WithDefaultNamespace(namespace),
		client.WithTimeout(10*time.Second))
	if err != nil {
		return fmt.Errorf("in-memory client: %w", err)
	}
	e.client = c
	e.grpc = grpcServices(ic)
	return e.cleanSnapshots(ic)
}

// cleanSnapshots takes away folders of snapshots that were never recorded. Were they left to containerd's
// collector, the next snapshot could not be made before that has run: it gets the same number.
func (e *Engine) cleanSnapshots(ic *plugin.InitContext) error {
	p, err := ic.GetByID(ctdplugins.SnapshotPlugin, Snapshotter)
	if err != nil {
		return err
	}
	c, ok := p.(snapshots.Cleaner)
	if !ok {
		return fmt.Errorf("the %s snapshotter can't be cleaned up", Snapshotter)
	}
	err = c.Cleanup(ic.Context)
	if errdefs.IsNotFound(err) { // none was ever recorded
		err = os.RemoveAll(e.Snapshots())
	}
	if err != nil {
		return fmt.Errorf("clean up snapshots: %w", err)
	}
	return os.MkdirAll(e.Snapshots(), 0o700)
}

// Client returns the client that calls containerd without a socket in between. Calls need a context
// from Context: the default namespace does not reach services that are called in memory.
func (e *Engine) Client() *client.Client { return e.client }

// Namespace is the one that all images and containers of this Engine are in.
func (e *Engine) Namespace() string { return namespace }

// Snapshots is the folder of all snapshots, their files with the owners that an image gives them.
func (e *Engine) Snapshots() string {
	return filepath.Join(e.cfg.Root, "io.containerd.snapshotter.v1."+Snapshotter, "snapshots")
}

// Context returns ctx with containerd's namespace in it.
func (e *Engine) Context(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, namespace)
}

// Root returns the folder on disk that images and snapshots are in.
func (e *Engine) Root() string { return e.cfg.Root }

// State returns the folder in memory that lasts as long as the machine's uptime.
func (e *Engine) State() string { return e.cfg.State }

// Close ends containerd. Containers go on.
func (e *Engine) Close(context.Context) error {
	e.mu.Lock()
	s := e.socket
	e.socket = nil
	e.mu.Unlock()
	if s != nil {
		s.close()
	}
	e.server.Stop()
	return nil
}

func (c Config) validate() error {
	var errs []error
	for _, f := range []struct{ name, path string }{{"root", c.Root}, {"state", c.State}} {
		if !filepath.IsAbs(f.path) {
			errs = append(errs, fmt.Errorf("%s folder %q is not absolute", f.name, f.path))
		}
	}
	if len(c.State) > maxState {
		errs = append(errs, fmt.Errorf("state folder %q has more than %d characters: the sockets in it would not fit", c.State, maxState))
	}
	if err := errors.Join(errs...); err != nil {
		return cloud.Errorf(cloud.Invalid, "container engine: %w", err)
	}
	if os.Geteuid() != 0 {
		return cloud.Errorf(cloud.Denied, "container engine: running containers takes root").WithCommand("sudo micro up")
	}
	return nil
}
