package child

import (
	"bufio"
	"context"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/epoch"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// readAhead is large because each read from containerd's socket opens a new stream.
const readAhead = 4 << 20 // bytes

// eager reads blobs sequentially in large pieces.
type eager struct{ content.Provider }

func (e eager) ReaderAt(ctx context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	ra, err := e.Provider.ReaderAt(ctx, d)
	if err != nil {
		return nil, err
	}
	return eagerReader{ra}, nil
}

type eagerReader struct{ content.ReaderAt }

// Reader is the optional method that content.NewReader prefers to ReadAt.
func (r eagerReader) Reader() io.Reader {
	return bufio.NewReaderSize(io.NewSectionReader(r.ReaderAt, 0, r.Size()), readAhead)
}

// dated is a store of images that records when an image was made here, and not the date of its source: images that have
// just been made are safe from the collector.
type dated struct{ images.Store }

// Create implements images.Store.
func (d dated) Create(ctx context.Context, i images.Image) (images.Image, error) {
	return d.Store.Create(epoch.WithSourceDateEpoch(ctx, nil), i)
}

// Update implements images.Store.
func (d dated) Update(ctx context.Context, i images.Image, fields ...string) (images.Image, error) {
	return d.Store.Update(epoch.WithSourceDateEpoch(ctx, nil), i, fields...)
}
