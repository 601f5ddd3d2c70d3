package images

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/layer"
)

// Import reads an OCI layout or a `docker save` archive of exactly one image, plain, gzip or zstd. The
// names in the archive count for nothing but the result's Name, "" where it has none: whoever may push
// an archive must not thereby replace the base image that others build on. Tag is for those who may.
func (s *Store) Import(ctx context.Context, r io.Reader, progress func(runtime.Progress)) (runtime.Image, error) {
	ctx, done, err := s.work(ctx)
	if err != nil {
		return runtime.Image{}, err
	}
	defer done()
	report := newReporter(progress)
	step := report.step("import", "read the archive", 0)
	index, err := s.ingest(ctx, r, step)
	step.end(err)
	if err != nil {
		return runtime.Image{}, importError(ctx, err)
	}
	name, top, err := s.onlyImage(ctx, index)
	if err != nil {
		return runtime.Image{}, importError(ctx, err)
	}
	target, err := s.adopt(ctx, name, top, report)
	if err != nil {
		return runtime.Image{}, importError(ctx, err)
	}
	img, err := s.Get(ctx, target.Digest.String())
	img.Name = name
	return img, err
}

// ingest puts all that is in the archive into the store and returns its index.
func (s *Store) ingest(ctx context.Context, r io.Reader, step *stepReporter) (ocispec.Descriptor, error) {
	packed := &byteCounter{r: r}
	plain, err := layer.Decompress(packed)
	if err != nil {
		return ocispec.Descriptor{}, cloud.Errorf(cloud.Invalid, "read the archive: %w", err)
	}
	defer plain.Close()
	pr, pw := io.Pipe()
	checked := make(chan struct{})
	go func() {
		defer close(checked)
		pw.CloseWithError(s.limits.check(pw, &archiveReader{ctx: ctx, r: plain, packed: packed, limits: s.limits, step: step}))
	}()
	// Half-written blobs of an archive that broke off must never be gone on with from another's.
	store := ownRefs{Store: s.client.ContentStore(), prefix: rand.Text() + "-"}
	index, err := archive.ImportIndex(ctx, store, pr)
	pr.CloseWithError(errors.New("no longer read"))
	<-checked
	return index, err
}

// check copies a tar of an image archive, entry by entry, as long as it is harmless.
func (l Limits) check(w io.Writer, r io.Reader) error {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	entries := 0
	for {
		h, err := in.Next()
		if err == io.EOF {
			if entries == 0 {
				return cloud.Errorf(cloud.Invalid, "the archive is empty")
			}
			return out.Close()
		}
		if err != nil {
			return cloud.Errorf(cloud.Invalid, "not a tar, or one that broke off: %w", err)
		}
		if entries++; entries > l.entries {
			return cloud.Errorf(cloud.Invalid, "the archive has more than %d entries", l.entries)
		}
		name := path.Clean(h.Name)
		if path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") {
			return cloud.Errorf(cloud.Invalid, "the archive's entry %q leads out of it", h.Name)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			continue
		case tar.TypeSymlink: // `docker save` has linked layers that occur twice
			to := path.Join(path.Dir(name), h.Linkname)
			if path.IsAbs(h.Linkname) || to == ".." || strings.HasPrefix(to, "../") {
				return cloud.Errorf(cloud.Invalid, "the archive's link %q leads out of it", h.Name)
			}
		case tar.TypeReg:
		default:
			return cloud.Errorf(cloud.Invalid, "the archive's entry %q is neither file nor folder", h.Name)
		}
		if h.Size > l.archive {
			return cloud.Errorf(cloud.Invalid, "the archive's entry %q is larger than the %d MiB that an image may have", h.Name, l.archive>>20)
		}
		if err := out.WriteHeader(&tar.Header{Name: name, Typeflag: h.Typeflag, Linkname: h.Linkname, Size: h.Size, Mode: 0o600}); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
		if _, err := io.Copy(out, in); err != nil {
			if known, ok := errors.AsType[*cloud.Error](err); ok {
				return known
			}
			return cloud.Errorf(cloud.Invalid, "the archive broke off in %q: %w", h.Name, err)
		}
	}
}

// onlyImage returns the name and descriptor of the one image that an archive's index holds.
func (s *Store) onlyImage(ctx context.Context, d ocispec.Descriptor) (name string, top ocispec.Descriptor, err error) {
	var index ocispec.Index
	if err := s.readJSON(ctx, d, &index); err != nil {
		return "", top, cloud.Errorf(cloud.Invalid, "index.json: %w", err)
	}
	var found []ocispec.Descriptor
	platforms := true // of one image, each once
	seen := map[digest.Digest]bool{}
	for _, m := range index.Manifests {
		if name == "" {
			name = archiveName(m.Annotations)
		}
		if !isAttestation(m) && !seen[m.Digest] {
			seen[m.Digest] = true
			found = append(found, m)
			platforms = platforms && m.Platform != nil && archiveName(m.Annotations) == ""
		}
	}
	switch {
	case len(found) == 1:
		return name, found[0], nil
	case len(found) > 1 && platforms:
		d.MediaType = ocispec.MediaTypeImageIndex
		return name, d, nil
	case len(found) == 0:
		return "", top, cloud.Errorf(cloud.Invalid, "the archive holds no image")
	}
	return "", top, cloud.Errorf(cloud.Invalid, "the archive holds %d images", len(found)).WithHint("save one: docker save IMAGE")
}

func archiveName(annotations map[string]string) string {
	if n := annotations[images.AnnotationImageName]; n != "" {
		return n
	}
	return annotations[ocispec.AnnotationRefName]
}

// adopt makes an image whose blobs are in the store one of ours.
func (s *Store) adopt(ctx context.Context, name string, top ocispec.Descriptor, report *reporter) (ocispec.Descriptor, error) {
	store := s.client.ContentStore()
	what := name
	if what == "" {
		what = "archive"
	}
	there := func(ctx context.Context, d ocispec.Descriptor) error {
		info, err := store.Info(ctx, d.Digest)
		if errdefs.IsNotFound(err) {
			return cloud.Errorf(cloud.Invalid, "the archive lacks %s, or what it has by that name is something else", d.Digest)
		}
		if err == nil && info.Size != d.Size {
			return cloud.Errorf(cloud.Invalid, "the archive's %s has %d bytes, not %d", d.Digest, info.Size, d.Size)
		}
		return err
	}
	target, err := s.choose(ctx, what, top, there)
	if err != nil {
		return target, err
	}
	m, err := s.manifest(ctx, target)
	if err != nil {
		return target, err
	}
	if err := there(ctx, m.Config); err != nil {
		return target, err
	}
	all, err := s.layers(ctx, what, m)
	if err != nil {
		return target, err
	}
	for _, l := range m.Layers {
		if err := there(ctx, l); err != nil {
			return target, err
		}
	}
	if err := s.label(ctx, target); err != nil {
		return target, fmt.Errorf("label the image's parts: %w", err)
	}
	if err := s.unpack(ctx, what, m, all, func(int) error { return nil }, report); err != nil {
		return target, err
	}
	return target, s.record(ctx, recordName(target.Digest.String()), target)
}

func importError(ctx context.Context, err error) error {
	var known *cloud.Error
	if ctx.Err() != nil && !errors.As(context.Cause(ctx), &known) {
		return cloud.Errorf(cloud.Interrupted, "import: given up: %w", context.Cause(ctx))
	}
	switch {
	case known != nil || errors.As(err, &known):
		return cloud.Errorf(known.Code, "import: %w", known).WithHintOf(known)
	case errors.Is(err, syscall.ENOSPC):
		return cloud.Errorf(cloud.Unavailable, "import: the disk is full").WithCommand("micro prune")
	}
	return cloud.Errorf(cloud.Invalid, "import: %w", err).
		WithHint("want an OCI layout or what `docker save IMAGE` writes, as a tar, gzip or zstd")
}

// archiveReader bounds what an archive unpacks to, and ends with its context.
type archiveReader struct {
	ctx    context.Context
	r      io.Reader
	packed *byteCounter
	limits Limits
	step   *stepReporter
	n      int64
}

func (a *archiveReader) Read(p []byte) (int, error) {
	if err := a.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := a.r.Read(p)
	a.n += int64(n)
	a.step.add(int64(n))
	switch {
	case a.n > a.limits.archive:
		return n, cloud.Errorf(cloud.Invalid, "the archive is larger than the %d MiB that an image may have", a.limits.archive>>20)
	case a.n > freeRatio+a.packed.n*a.limits.ratio:
		return n, cloud.Errorf(cloud.Invalid, "the archive unpacks to more than %d times its size", a.limits.ratio)
	}
	return n, err
}

type byteCounter struct {
	r io.Reader
	n int64
}

func (c *byteCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// ownRefs keeps the names of uploads apart from everybody else's.
type ownRefs struct {
	content.Store
	prefix string
}

func (o ownRefs) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	return o.Store.Writer(ctx, append(opts, func(w *content.WriterOpts) error {
		w.Ref = o.prefix + w.Ref
		return nil
	})...)
}
