package source

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"

	"github.com/protoduction/micro/cloud"
)

// Limits bound what an archive may unpack to. Zero values are the defaults.
type Limits struct {
	Bytes   int64 // of all files; default 8 GiB
	Entries int   // default 200,000
	ratio   int   // of unpacked to packed bytes, once a megabyte is unpacked; default 200
}

// Unlimited is for lists that were within their limits before.
var Unlimited = Limits{Bytes: math.MaxInt64, Entries: math.MaxInt}

func (l Limits) withDefaults() Limits {
	if l.Bytes == 0 {
		l.Bytes = 8 << 30
	}
	if l.Entries == 0 {
		l.Entries = 200_000
	}
	if l.ratio == 0 {
		l.ratio = 200
	}
	return l
}

// ratioFree bytes may be unpacked at any ratio: short files of zeros are honest.
const ratioFree = 1 << 20

// stream is the plain tar in what may be packed with gzip or zstd.
type stream struct {
	plain    io.Reader
	packed   *tally
	out      int64
	ratio    int
	ended    bool // the source said that there is no more
	compress string
	close    func()
}

type tally struct {
	r io.Reader
	n int64
}

func (t *tally) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.n += int64(n)
	return n, err
}

func newStream(r io.Reader, ratio int) (*stream, error) {
	s := &stream{packed: &tally{r: r}, ratio: ratio, close: func() {}}
	buffered := bufio.NewReaderSize(s.packed, 64<<10)
	head, _ := buffered.Peek(4)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, cloud.Errorf(cloud.Invalid, "not an archive: %w", err)
		}
		s.plain, s.compress = z, "gzip"
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(32<<20))
		if err != nil {
			return nil, cloud.Errorf(cloud.Invalid, "not an archive: %w", err)
		}
		s.plain, s.compress, s.close = z, "zstd", z.Close
	default:
		s.plain = buffered
	}
	return s, nil
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.plain.Read(p)
	end := err == io.EOF //nolint:errorlint // a reader says this and nothing around it
	s.out += int64(n)
	if end && n > 0 {
		err = nil // said again at the next call, which tells a cut archive from a whole one
	} else if end {
		s.ended = true
	}
	if s.compress != "" && s.out > ratioFree && s.out/int64(s.ratio) > s.packed.n {
		return 0, cloud.Errorf(cloud.Invalid, "the archive unpacks to more than %d times its size", s.ratio)
	}
	if err != nil && !end && s.compress != "" {
		err = fmt.Errorf("%s: %w", s.compress, err)
	}
	return n, err
}
