package layer

import (
	"io"
	"strings"

	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds what a zstd stream can make us keep in memory: what zstd itself takes without being asked.
const maxWindow = 128 << 20

// Decompress reads gzip, zstd, or what is neither as it is.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	head := make([]byte, 10)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	r = io.MultiReader(strings.NewReader(string(head[:n])), r)
	switch compression.DetectCompression(head[:n]) {
	case compression.Gzip:
		return gzip.NewReader(r)
	case compression.Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	default:
		return io.NopCloser(r), nil
	}
}
