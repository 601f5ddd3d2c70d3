package child

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/executor/oci"
	"github.com/moby/buildkit/executor/resources"
	"github.com/moby/buildkit/executor/runcexecutor"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	"github.com/moby/buildkit/session"
	ctdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/util/network/netproviders"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
	ctdworker "github.com/moby/buildkit/worker/containerd"
	"golang.org/x/sync/semaphore"

	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/layer"
)

type networks = map[pb.NetMode]network.Provider

// newController creates BuildKit's controller. Its worker shares content, snapshots and images with the node.
func newController(ctx context.Context, s build.Settings) (*control.Controller, *leaseutil.Manager, *contexts, error) {
	if err := os.MkdirAll(s.Root, 0o700); err != nil {
		return nil, nil, nil, fmt.Errorf("make BuildKit's folder: %w", err)
	}
	w, opt, err := newWorker(ctx, s)
	if err != nil {
		return nil, nil, nil, err
	}
	workers := &worker.Controller{}
	if err := workers.Add(w); err != nil {
		return nil, nil, nil, fmt.Errorf("add the worker: %w", err)
	}
	folders, err := newContexts(w.CacheMgr)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("make the source of folders: %w", err)
	}
	w.SourceManager.Register(folders)
	sessions, err := session.NewManager()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("make the session manager: %w", err)
	}
	cache, err := bboltcachestorage.NewStore(filepath.Join(s.Root, "cache.db"))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open the build cache: %w", err)
	}
	history, err := boltutil.SafeOpen(filepath.Join(s.Root, "history.db"), 0o600, nil)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open the build history: %w", err)
	}
	c, err := control.NewController(control.Opt{
		SessionManager:   sessions,
		WorkerController: workers,
		Frontends: map[string]frontend.Frontend{
			"dockerfile.v0": forwarder.NewGatewayForwarder(workers.Infos(), buildDockerfile),
		},
		CacheManager:   solver.NewCacheManager(ctx, "local", cache, worker.NewCacheResultStorage(workers)),
		CacheStore:     cache,
		HistoryDB:      history,
		LeaseManager:   opt.LeaseManager,
		ContentStore:   opt.ContentStore,
		GarbageCollect: w.GarbageCollect,
	})
	return c, opt.LeaseManager, folders, err
}

func newWorker(ctx context.Context, s build.Settings) (*base.Worker, base.WorkerOpt, error) {
	dns := &oci.DNSConfig{}
	for _, r := range s.Resolvers {
		dns.Nameservers = append(dns.Nameservers, r.String())
	}
	opt, err := ctdworker.NewWorkerOpt(ctdworker.WorkerOptions{
		Root:            s.Root,
		Address:         s.Containerd,
		SnapshotterName: s.Snapshotter,
		Namespace:       s.Namespace,
		// Replaced below: steps never use the host's network.
		NetworkOpt:     netproviders.Opt{Mode: "host"},
		DNS:            dns,
		ParallelismSem: semaphore.NewWeighted(int64(max(s.Parallel, 1))),
	}, containerd.WithTimeout(10*time.Second))
	if err != nil {
		return nil, opt, fmt.Errorf("connect to containerd at %s: %w", s.Containerd, err)
	}
	networks := networks{
		pb.NetMode_UNSET: confined{network.NewNoneProvider()},
		pb.NetMode_NONE:  confined{network.NewNoneProvider()},
	}
	if s.Sandbox != "" {
		networks[pb.NetMode_UNSET] = confined{sandboxes{socket: s.Sandbox}}
	}
	monitor, err := resources.NewMonitor() // the executor panics without a monitor
	if err != nil {
		return nil, opt, fmt.Errorf("start the resource monitor: %w", err)
	}
	oomScore := build.OOMScore
	opt.NetworkProviders, opt.ProxyProvider, opt.ResourceMonitor = networks, nil, monitor
	opt.Executor, err = newMapped(runcexecutor.Opt{
		CommandCandidates:   []string{s.Runc},
		DefaultCgroupParent: s.Cgroup,
		DNS:                 dns,
		ResourceMonitor:     monitor,
		OOMScoreAdj:         &oomScore,
	}, networks, s.Snapshots)
	if err != nil {
		return nil, opt, err
	}
	// Layers are packed and unpacked in this process, not in the node.
	origins := &origins{}
	opt.ContentStore = ctdsnapshot.NewContentStore(packing{opt.ContentStore.Store, origins}, s.Namespace)
	opt.Applier = relinking{layer.Applier{Store: eager{opt.ContentStore}}, opt.Snapshotter, opt.LeaseManager, origins}
	opt.Differ = walking.NewWalkingDiff(opt.ContentStore)
	opt.Snapshotter = layers{opt.Snapshotter, &shared{}}
	opt.ImageStore = dated{opt.ImageStore}
	opt.RegistryHosts = registryHosts(ctx, s)
	opt.GCPolicy = cachePolicy(s)
	w, err := base.NewWorker(ctx, opt)
	if err != nil {
		return nil, opt, fmt.Errorf("make the worker: %w", err)
	}
	// Replaces BuildKit's own, which needs the host's git.
	w.SourceManager.Register(gitSource{w.CacheMgr})
	w.GitSource = nil
	return w, opt, nil
}

// cachePolicy first removes what is cheap to recreate, then what has not been used for a long time.
func cachePolicy(s build.Settings) []client.PruneInfo {
	return []client.PruneInfo{
		{
			Filter:       []string{"type==source.local", "type==exec.cachemount", "type==source.git.checkout"},
			KeepDuration: 48 * time.Hour,
			MaxUsedSpace: s.CacheKeep / 4,
		},
		{KeepDuration: 30 * 24 * time.Hour, ReservedSpace: s.CacheKeep, MaxUsedSpace: s.CacheMax},
		{ReservedSpace: s.CacheKeep, MaxUsedSpace: s.CacheMax},
		{All: true, ReservedSpace: s.CacheKeep, MaxUsedSpace: s.CacheMax},
	}
}
