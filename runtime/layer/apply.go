package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/archive"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Apply writes a layer, a plain tar stream, over what a snapshot has already, and describes the stream. It
// reads to the stream's end: what stands behind the archive counts for the digest.
func Apply(ctx context.Context, plain io.Reader, mounts []mount.Mount) (ocispec.Descriptor, error) {
	sum := digest.Canonical.Digester()
	counted := &counter{r: io.TeeReader(plain, sum.Hash())}
	if err := write(ctx, counted, mounts); err != nil {
		return ocispec.Descriptor{}, err
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := syncFiles(mounts); err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: sum.Digest(), Size: counted.n}, nil
}

// write goes past a snapshot's mount into its own folder: then a deleted file is one node to make, nothing is copied up,
// and nothing stays mounted if the process is killed.
func write(ctx context.Context, r io.Reader, mounts []mount.Mount) error {
	options := []archive.ApplyOpt{archive.WithFilter(admit)}
	if upper, lower := overlayOf(mounts); upper != "" {
		options = append(options, archive.WithConvertWhiteout(archive.OverlayConvertWhiteout))
		if len(lower) > 0 {
			options = append(options, archive.WithParents(lower))
		}
		_, err := archive.Apply(ctx, upper, r, options...)
		return err
	}
	if len(mounts) != 1 || mounts[0].Type != "bind" {
		return fmt.Errorf("a snapshot that is neither a folder nor an overlay: %v", mounts)
	}
	_, err := archive.Apply(ctx, mounts[0].Source, r, options...)
	return err
}

// syncFiles returns when a layer's files are on the disk. The snapshot's record is, as soon as that is written: without this,
// a power cut would leave a snapshot that counts as complete, and whose files are empty.
func syncFiles(mounts []mount.Mount) error {
	dir, _ := overlayOf(mounts)
	if dir == "" {
		dir = mounts[0].Source
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

func overlayOf(mounts []mount.Mount) (upper string, lower []string) {
	if len(mounts) != 1 || mounts[0].Type != "overlay" {
		return "", nil
	}
	for _, o := range mounts[0].Options {
		switch key, value, _ := strings.Cut(o, "="); key {
		case "upperdir":
			upper = value
		case "lowerdir":
			lower = strings.Split(value, ":")
		}
	}
	return upper, lower
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// Applier is a diff.Applier for blobs of a store.
type Applier struct{ Store content.Provider }

var _ diff.Applier = Applier{}

// Apply is diff.Applier's.
func (a Applier) Apply(ctx context.Context, d ocispec.Descriptor, mounts []mount.Mount, _ ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	blob, err := a.Store.ReaderAt(ctx, d)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("read layer %s: %w", d.Digest, err)
	}
	defer blob.Close()
	plain, err := Decompress(content.NewReader(blob))
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("read layer %s: %w", d.Digest, err)
	}
	defer plain.Close()
	return Apply(ctx, plain, mounts)
}
