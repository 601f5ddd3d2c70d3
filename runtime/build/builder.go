package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/disk"
)

// Config configures a Builder. Folders are absolute paths.
type Config struct {
	Executable string // program that calls child.Main first; "" for this program
	Root       string // on disk; holds BuildKit's cache index
	State      string // short path for sockets, at most 80 characters
	Cgroup     string // such as "/micro/build"; not shared

	Containerd  func() (string, error) // returns the path of containerd's socket
	Namespace   string                 // containerd's
	Snapshotter string
	Snapshots   string // the snapshotter's folder, with unmapped owners
	ImageName   string // images are recorded as ImageName@digest
	Images      images
	Runc        string // path of the program

	Sandbox   NewSandbox   // for each step, and for the process itself, which fetches base images; nil for no network
	Resolvers []netip.Addr // name servers that a step can reach; none for the host's

	CertsDir     string // see remote.Config
	DockerConfig string

	Limits Limits
	// LendReserve frees reserved disk space for a repair, until giveBack is called; nil for none.
	LendReserve func() (giveBack func())
	IdleTimeout time.Duration // how long the process runs without a build; 0 means 60 s
	Logger      *slog.Logger
}

// images is the node's image store, which has the results of builds.
type images interface {
	Get(ctx context.Context, digest string) (runtime.Image, error)
}

// Builder implements runtime.Builder with BuildKit.
type Builder struct {
	cfg       Config
	log       *slog.Logger
	sandboxes *net.UnixListener // nil without Config.Sandbox

	mu      sync.Mutex // guards the fields below
	child   *process
	using   int         // builds on child
	idle    *time.Timer // stops child; active while using is 0
	stopped bool
}

var _ runtime.Builder = (*Builder)(nil)

// New checks the configuration, ends the build process of a killed node, and opens the socket from which build steps get
// their networks.
func New(cfg Config) (*Builder, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	for _, dir := range []string{cfg.Root, cfg.State} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("builder: %w", err)
		}
	}
	var err error
	if cfg.Limits, err = cfg.Limits.withDefaults(cfg.Root); err != nil {
		return nil, fmt.Errorf("builder: %w", err)
	}
	if err := sweepCgroup(cfg.Cgroup); err != nil {
		return nil, fmt.Errorf("builder: end the build process of an earlier run: %w", err)
	}
	b := &Builder{cfg: cfg, log: cfg.Logger}
	if cfg.Sandbox != nil {
		l, err := listenPrivate(filepath.Join(cfg.State, "net.sock"))
		if err != nil {
			return nil, fmt.Errorf("builder: %w", err)
		}
		b.sandboxes = l
	}
	return b, nil
}

func (c *Config) complete() error {
	var errs []error
	for _, f := range []struct{ name, value string }{{"root", c.Root}, {"state", c.State}, {"cgroup", c.Cgroup}, {"snapshots", c.Snapshots}} {
		if !filepath.IsAbs(f.value) || filepath.Clean(f.value) != f.value || f.value == "/" {
			errs = append(errs, fmt.Errorf("%s %q is not an absolute, clean path", f.name, f.value))
		}
	}
	if len(c.State) > 80 {
		errs = append(errs, fmt.Errorf("state %q is longer than 80 characters", c.State))
	}
	if c.Containerd == nil || c.Images == nil || c.Namespace == "" || c.Snapshotter == "" || c.ImageName == "" || c.Runc == "" {
		errs = append(errs, errors.New("containerd, images, namespace, snapshotter, image name and runc must be set"))
	}
	if c.Executable == "" {
		exe, err := os.Executable()
		if err != nil {
			errs = append(errs, err)
		}
		c.Executable = exe
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = time.Minute
	}
	if c.LendReserve == nil {
		c.LendReserve = func() func() { return func() {} }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("builder: %w", err)
	}
	return nil
}

// Run serves until ctx ends. Then it stops the build process with all running builds.
func (b *Builder) Run(ctx context.Context) error {
	var serving sync.WaitGroup
	if b.sandboxes != nil {
		serving.Go(func() { b.acceptSandboxes(ctx, &serving) })
	}
	<-ctx.Done()
	b.mu.Lock()
	b.stopped = true
	p := b.child
	b.child = nil
	if b.idle != nil {
		b.idle.Stop()
	}
	b.mu.Unlock()
	if p != nil {
		p.stop()
	}
	if b.sandboxes != nil {
		b.sandboxes.Close()
	}
	serving.Wait()
	return nil
}

func (b *Builder) acceptSandboxes(ctx context.Context, serving *sync.WaitGroup) {
	for {
		conn, err := b.sandboxes.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			b.log.Error("accept a build step's request for a network", "err", err)
			return
		}
		serving.Go(func() { b.serveSandbox(ctx, conn) })
	}
}

// Build implements runtime.Builder.
func (b *Builder) Build(ctx context.Context, r runtime.Build) (runtime.Image, error) {
	request, err := newRequest(r)
	if err != nil {
		return runtime.Image{}, err
	}
	b.makeRoom(ctx)
	ctx, cancel := b.cfg.Limits.guard(ctx, b.cfg.Root)
	defer cancel()
	p, err := b.acquire()
	if err != nil {
		return runtime.Image{}, err
	}
	defer b.release(p)
	answer, err := p.ask(ctx, request, r.Progress)
	if err != nil {
		return runtime.Image{}, err
	}
	digest := answer.Digest
	img, err := b.cfg.Images.Get(ctx, digest)
	if err != nil {
		return runtime.Image{}, fmt.Errorf("build of %s: %w", r.Name, err)
	}
	img.Name = r.Name
	return img, nil
}

// makeRoom empties the build cache if the disk is full. Then it waits up to 15 s for free space: BuildKit removes the
// files of a failed build only after it has reported the failure, and not at all if the full disk prevented that.
func (b *Builder) makeRoom(ctx context.Context) {
	if b.hasRoom() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	defer b.cfg.LendReserve()()
	if freed, err := b.Prune(ctx); err != nil {
		b.log.Warn("cannot empty the build cache of a full disk", "err", err)
	} else {
		b.log.Info("emptied the build cache, as the disk is full", "bytes", freed)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !b.hasRoom() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *Builder) hasRoom() bool { return disk.Check(b.cfg.Root, b.cfg.Limits.Free) == nil }

// Prune removes everything from the build cache that no running build uses, and returns the number of freed bytes. Layers
// that images need stay.
func (b *Builder) Prune(ctx context.Context) (int64, error) {
	p, err := b.acquire()
	if err != nil {
		return 0, err
	}
	defer b.release(p)
	answer, err := p.ask(ctx, Request{Prune: true}, nil)
	return answer.Freed, err
}

func newRequest(r runtime.Build) (Request, error) {
	file := r.Dockerfile
	if file == "" {
		file = "Dockerfile"
	}
	root, err := os.OpenRoot(r.Source)
	if err != nil {
		return Request{}, cloud.Errorf(cloud.Invalid, "build: open the source folder: %w", err)
	}
	defer root.Close()
	info, err := root.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Request{}, cloud.Errorf(cloud.Invalid, "build: no %s in the source folder", file).
			WithHint("add a Dockerfile, or check that no ignore file excludes it")
	case err != nil:
		return Request{}, cloud.Errorf(cloud.Invalid, "build: Dockerfile %q: %w", file, err)
	case !info.Mode().IsRegular():
		return Request{}, cloud.Errorf(cloud.Invalid, "build: Dockerfile %q is not a file", file)
	}
	if err := checkArgs(r.Args); err != nil {
		return Request{}, err
	}
	return Request{
		Name: r.Name, Source: r.Source, List: r.List, Digest: r.Digest, Dockerfile: filepath.ToSlash(filepath.Clean(file)), Apart: r.Apart, Target: r.Target,
		Args: r.Args, Secrets: r.Secrets, Labels: r.Labels, NoCache: r.NoCache, Created: r.Created,
	}, nil
}

// checkArgs rejects build arguments that BuildKit itself reads: they would bring in other programs, other platforms, or
// the caches of others.
func checkArgs(args map[string]string) error {
	for k := range args {
		if strings.HasPrefix(k, "BUILDKIT_") && k != "BUILDKIT_INLINE_CACHE" {
			return cloud.Errorf(cloud.Invalid, "build: argument %s is reserved for BuildKit", k)
		}
	}
	return nil
}

// acquire returns the build process. It starts one if none is running.
func (b *Builder) acquire() (*process, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return nil, cloud.Errorf(cloud.Unavailable, "build: the node is stopping")
	}
	if b.idle != nil {
		b.idle.Stop()
	}
	if b.child == nil || b.child.ended() {
		p, err := b.start()
		if err != nil {
			return nil, cloud.Errorf(cloud.Unavailable, "build: start the build process: %w", err).WithCommand("micro doctor")
		}
		b.child, b.using = p, 0
	}
	b.using++
	return b.child, nil
}

func (b *Builder) release(p *process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p != b.child {
		return // p has died; later builds use another process
	}
	if b.using--; b.using == 0 {
		b.idle = time.AfterFunc(b.cfg.IdleTimeout, b.stopIdle)
	}
}

func (b *Builder) stopIdle() {
	b.mu.Lock()
	p := b.child
	if p == nil || b.using > 0 {
		b.mu.Unlock()
		return
	}
	// A new build waits for the lock, because two processes can't share BuildKit's files.
	defer b.mu.Unlock()
	b.child = nil
	p.stop()
}

// listenPrivate listens on a unix socket in a folder with mode 0700.
func listenPrivate(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}
