package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/remote"
)

const (
	parallelLayers = 4
	fetchTries     = 3
	// stallTimeout ends a transfer of which nothing has come for so long.
	stallTimeout = 60 * time.Second
)

// Pull fetches an image for this machine's platform. One that is asked for by a digest and is here
// already needs no registry, and neither does a name that Tag gave: FROM lines find it here, too.
func (s *Store) Pull(ctx context.Context, name string, progress func(runtime.Progress)) (runtime.Image, error) {
	ref, err := reference.ParseDockerRef(name)
	if err != nil {
		return runtime.Image{}, cloud.Errorf(cloud.Invalid, "image %q: %w", name, err).
			WithHint("names look like registry.example.com/team/app:tag")
	}
	if c, ok := ref.(reference.Canonical); ok {
		if img, err := s.Get(ctx, c.Digest().String()); err == nil {
			img.Name = name
			return img, nil
		}
	}
	if r, err := s.client.ImageService().Get(s.ns(ctx), ref.String()); err == nil {
		img, err := s.Get(ctx, r.Target.Digest.String())
		img.Name = name
		return img, err
	}
	ctx, done, err := s.work(ctx)
	if err != nil {
		return runtime.Image{}, err
	}
	defer done()
	host := reference.Domain(ref)
	target, err := s.pull(ctx, docker.NewResolver(docker.ResolverOptions{Hosts: s.remote.Hosts(ctx)}), name, ref, newReporter(progress))
	if err != nil {
		return runtime.Image{}, remote.Explain(ctx, name, host, err)
	}
	img, err := s.keep(ctx, target)
	img.Name = name
	return img, err
}

// keep records an image that is here as a whole.
func (s *Store) keep(ctx context.Context, target ocispec.Descriptor) (runtime.Image, error) {
	if err := s.record(ctx, recordName(target.Digest.String()), target); err != nil {
		return runtime.Image{}, err
	}
	return s.Get(ctx, target.Digest.String())
}

func (s *Store) pull(ctx context.Context, resolver remotes.Resolver, name string, ref reference.Named, report *reporter) (ocispec.Descriptor, error) {
	none := ocispec.Descriptor{}
	step := report.step("resolve", "look up "+ref.String(), 0)
	full, d, err := resolver.Resolve(ctx, ref.String())
	step.end(err)
	if err != nil {
		return none, err
	}
	fetcher, err := resolver.Fetcher(ctx, full)
	if err != nil {
		return none, err
	}
	bring := func(ctx context.Context, d ocispec.Descriptor) error { return s.fetch(ctx, fetcher, d, nil) }
	target, err := s.choose(ctx, name, d, bring)
	if err != nil {
		return none, err
	}
	m, err := s.manifest(ctx, target)
	if err != nil {
		return none, err
	}
	size := m.Config.Size
	for i := range m.Layers {
		m.Layers[i].URLs = nil // a manifest does not get to say where else this node sends requests
		size += m.Layers[i].Size
	}
	if m.Config.Size > maxMetadata || size > s.limits.archive {
		return none, cloud.Errorf(cloud.Invalid, "image %s: %d MiB are more than the %d MiB that an image may have", name, size>>20, s.limits.archive>>20)
	}
	if err := bring(ctx, m.Config); err != nil {
		return none, err
	}
	all, err := s.layers(ctx, name, m)
	if err != nil {
		return none, err
	}
	if err := s.label(ctx, target); err != nil {
		return none, fmt.Errorf("image %s: label its parts: %w", name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ready, wait := s.fetchLayers(ctx, fetcher, m.Layers, report)
	defer wait()
	defer cancel()
	return target, s.unpack(ctx, name, m, all, ready, report)
}

// fetchLayers fetches several at a time; ready blocks until one has come.
func (s *Store) fetchLayers(ctx context.Context, fetcher remotes.Fetcher, layers []ocispec.Descriptor, report *reporter) (ready func(int) error, wait func()) {
	slots := make(chan struct{}, parallelLayers)
	results := make([]chan error, len(layers))
	var all sync.WaitGroup
	for i, l := range layers {
		results[i] = make(chan error, 1)
		all.Go(func() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				results[i] <- ctx.Err()
				return
			}
			step := report.step(l.Digest.String(), fmt.Sprintf("layer %d of %d", i+1, len(layers)), l.Size)
			err := s.fetch(ctx, fetcher, l, step)
			step.end(err)
			results[i] <- err
			<-slots
		})
	}
	return func(i int) error { return <-results[i] }, all.Wait
}

// fetch brings one blob into the store, going on where a broken connection stopped.
func (s *Store) fetch(ctx context.Context, fetcher remotes.Fetcher, d ocispec.Descriptor, step *stepReporter) error {
	for try := 1; ; try++ {
		tctx, cancel := context.WithCancelCause(ctx)
		err := remotes.Fetch(tctx, s.client.ContentStore(), &watched{fetcher: fetcher, stall: cancel, step: step}, d)
		if cause := context.Cause(tctx); cause != nil && err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		cancel(nil)
		if err == nil || errdefs.IsAlreadyExists(err) {
			return nil
		}
		if try == fetchTries || ctx.Err() != nil || !transient(err) {
			return &remote.Part{Digest: d.Digest, Err: err}
		}
		s.log.Warn("fetch from a registry, again", "digest", d.Digest, "err", err)
		if step != nil {
			step.back()
		}
	}
}

func transient(err error) bool {
	var network *net.OpError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, remote.ErrStalled) ||
		errors.As(err, &network) && network.Op != "dial"
}

// watched is a fetcher whose transfers end when nothing comes any more.
type watched struct {
	fetcher remotes.Fetcher
	stall   context.CancelCauseFunc
	step    *stepReporter
}

func (w *watched) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	r, err := w.fetcher.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	return &transfer{ReadCloser: r, step: w.step, timer: time.AfterFunc(stallTimeout, func() { w.stall(remote.ErrStalled) })}, nil
}

type transfer struct {
	io.ReadCloser
	step  *stepReporter
	timer *time.Timer
}

func (t *transfer) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.timer.Reset(stallTimeout)
	if t.step != nil {
		t.step.add(int64(n))
	}
	return n, err
}

// Seek is how a transfer goes on from the middle.
func (t *transfer) Seek(offset int64, whence int) (int64, error) {
	s, ok := t.ReadCloser.(io.Seeker)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	return s.Seek(offset, whence)
}

func (t *transfer) Close() error {
	t.timer.Stop()
	return t.ReadCloser.Close()
}
