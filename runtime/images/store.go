package images

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/disk"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/remote"
)

// Name is what images are recorded as: this, "@" and the digest of their manifest. Builds record
// theirs under it too, so that an image is either wholly there or not at all.
const Name = "micro.local/image"

// workLease labels the leases of pulls and imports. None is under way when a Store opens, so that any with
// this label is a dead process's.
const workLease = "micro/work"

// Store is the node's store of images: containerd's, in which each of ours has one record, by digest.
// Names that Tag adds are records of their own.
type Store struct {
	client   *client.Client
	ns       func(context.Context) context.Context
	remote   remote.Config
	limits   Limits
	platform platforms.MatchComparer
	log      *slog.Logger
	root     string // folder that images are in
	now      func() time.Time
}

var _ runtime.Images = (*Store)(nil)

// Engine is what a Store needs of containerd.
type Engine interface {
	Client() *client.Client
	Context(context.Context) context.Context // that the client's calls need
	Root() string                            // folder that images are in
}

var _ Engine = (*engine.Engine)(nil)

// Config says how images are fetched and how much of them is accepted.
type Config struct {
	Engine Engine
	Logger *slog.Logger
	Remote remote.Config
	Limits Limits
}

// Limits bound one image, so that a hostile one can't eat the disk. A zero field is its default.
type Limits struct {
	archive  int64 // bytes of an archive, decompressed; half of Unpacked
	entries  int   // files in an archive; 10,000
	Unpacked int64 // bytes of all layers, unpacked; 32 GiB
	ratio    int64 // unpacked bytes to one of a layer, beyond the first 256 MiB; 200
	Free     int64 // bytes of disk that must stay free; 1 GiB, or a twentieth of a smaller disk
}

func (l Limits) withDefaults(root string) (Limits, error) {
	size, err := disk.Size(root)
	if err != nil {
		return l, err
	}
	if l.Free == 0 {
		l.Free = min(1<<30, size/20)
	}
	if l.Unpacked == 0 {
		l.Unpacked = 32 << 30
	}
	if l.archive == 0 {
		l.archive = l.Unpacked / 2
	}
	if l.entries == 0 {
		l.entries = 10_000
	}
	if l.ratio == 0 {
		l.ratio = 200
	}
	return l, nil
}

// Open returns the Engine's store of images, cleared of what an interrupted pull or import left.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := cfg.Engine
	limits, err := cfg.Limits.withDefaults(e.Root())
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	s := &Store{
		client: e.Client(), ns: e.Context, remote: cfg.Remote, limits: limits,
		platform: platforms.OnlyStrict(platforms.DefaultSpec()), log: cfg.Logger, root: e.Root(), now: time.Now,
	}
	ctx = s.ns(ctx)
	old, err := s.client.LeasesService().List(ctx, fmt.Sprintf("labels.%q", workLease))
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	for _, l := range old {
		if err := s.client.LeasesService().Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			return nil, fmt.Errorf("drop the lease of an interrupted pull: %w", err)
		}
	}
	return s, nil
}

// work returns a context to fetch an image with: what comes is kept from the collector until done, after
// which only records keep it, and the context ends before the disk is full.
func (s *Store) work(ctx context.Context) (_ context.Context, done func(), err error) {
	ctx, drop, err := s.client.WithLease(s.ns(ctx), leases.WithRandomID(), leases.WithExpiration(24*time.Hour),
		leases.WithLabels(map[string]string{workLease: "1"}))
	if err != nil {
		return nil, nil, fmt.Errorf("take a lease: %w", err)
	}
	ctx, release := disk.CancelWhenFull(ctx, s.root, s.limits.Free)
	return ctx, func() {
		release()
		if err := drop(context.WithoutCancel(ctx)); err != nil {
			s.log.Error("drop a lease", "err", err)
		}
	}, nil
}

func recordName(d string) string { return Name + "@" + d }

// record makes an image one of ours: from here on it stays until Prune.
func (s *Store) record(ctx context.Context, name string, target ocispec.Descriptor) error {
	img := images.Image{Name: name, Target: target}
	store := s.client.ImageService()
	_, err := store.Create(ctx, img)
	if errdefs.IsAlreadyExists(err) {
		_, err = store.Update(ctx, img, "target")
	}
	if err != nil {
		return fmt.Errorf("record image %s: %w", name, err)
	}
	return nil
}

// Get returns an image by the digest of its manifest.
func (s *Store) Get(ctx context.Context, d string) (runtime.Image, error) {
	if _, err := digest.Parse(d); err != nil {
		return runtime.Image{}, cloud.Errorf(cloud.Invalid, "image %q: not a digest", d)
	}
	ctx = s.ns(ctx)
	r, err := s.client.ImageService().Get(ctx, recordName(d))
	if errdefs.IsNotFound(err) {
		return runtime.Image{}, cloud.Errorf(cloud.NotFound, "image %s: not on this node", d).
			WithHint("push it again")
	}
	if err != nil {
		return runtime.Image{}, fmt.Errorf("get image %s: %w", d, err)
	}
	img, err := s.describe(ctx, r.Target)
	if errdefs.IsNotFound(err) {
		return runtime.Image{}, cloud.Errorf(cloud.NotFound, "image %s: only in part on this node: %w", d, err).WithHint("push it again")
	}
	img.Created = r.CreatedAt
	return img, err
}

// dockerConfig is an image's config as Docker and BuildKit write it, of which OCI took over most.
type dockerConfig struct {
	imageConfig
	Config  ocispec.ImageConfig `json:"config"`
	History []ocispec.History   `json:"history"`
}

func (s *Store) describe(ctx context.Context, target ocispec.Descriptor) (runtime.Image, error) {
	store := s.client.ContentStore()
	m, err := s.manifest(ctx, target)
	if err != nil {
		return runtime.Image{}, err
	}
	raw, err := content.ReadBlob(ctx, store, m.Config)
	if err != nil {
		return runtime.Image{}, fmt.Errorf("read the config of image %s: %w", target.Digest, err)
	}
	var c dockerConfig
	if err := json.Unmarshal(raw, &c); err != nil {
		return runtime.Image{}, cloud.Errorf(cloud.Invalid, "image %s: its config is not JSON: %w", target.Digest, err)
	}
	if err := s.checkPlatform(target.Digest.String(), c.imageConfig); err != nil {
		return runtime.Image{}, err
	}
	img := runtime.Image{
		Digest: target.Digest.String(), Name: target.Digest.String(),
		Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd, Env: c.Config.Env,
		User: c.Config.User, Dir: c.Config.WorkingDir, Ports: exposedPorts(c.Config.ExposedPorts, c.History),
		Volumes: slices.Sorted(maps.Keys(c.Config.Volumes)),
		Labels:  map[string]string{}, StopSignal: c.Config.StopSignal,
		Size: target.Size + m.Config.Size,
	}
	maps.Copy(img.Labels, c.Config.Labels)
	maps.Copy(img.Labels, m.Annotations)
	for _, l := range m.Layers {
		img.Size += l.Size
	}
	return img, nil
}

func (s *Store) manifest(ctx context.Context, target ocispec.Descriptor) (ocispec.Manifest, error) {
	var m ocispec.Manifest
	raw, err := content.ReadBlob(ctx, s.client.ContentStore(), target)
	if err != nil {
		return m, fmt.Errorf("read the manifest of image %s: %w", target.Digest, err)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, cloud.Errorf(cloud.Invalid, "image %s: its manifest is not JSON: %w", target.Digest, err)
	}
	return m, nil
}
