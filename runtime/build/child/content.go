package child

import (
	"bufio"
	"context"
	"io"

	"github.com/containerd/containerd/v2/core/content"
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
