package child

import (
	"bufio"
	"context"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// readAhead makes few calls of many: containerd's socket answers each read with a stream of its own.
const readAhead = 4 << 20 // bytes

// eager reads blobs from the front in large pieces.
type eager struct{ content.Provider }

func (e eager) ReaderAt(ctx context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	ra, err := e.Provider.ReaderAt(ctx, d)
	if err != nil {
		return nil, err
	}
	return eagerReader{ra}, nil
}

type eagerReader struct{ content.ReaderAt }

// Reader is what content.NewReader asks for before it falls back to ReadAt.
func (r eagerReader) Reader() io.Reader {
	return bufio.NewReaderSize(io.NewSectionReader(r.ReaderAt, 0, r.Size()), readAhead)
}
