package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Keys encrypt backups.
type Keys interface {
	// Encrypt returns a writer that encrypts for the cloud's key. Closing it writes the end.
	Encrypt(w io.Writer) (io.WriteCloser, error)
	// Decrypt returns what was encrypted for one of the cloud's keys.
	Decrypt(r io.Reader) (io.Reader, error)
	// Public is the key that Encrypt encrypts for.
	Public() string
}

// Writer writes the file of a backup. Close must be called at the end of the data, and only there: without it, the file
// is not whole.
type Writer struct {
	out  summed
	data io.WriteCloser
	size int64
	took func() time.Duration
}

// NewWriter writes the header of a backup's file.
func NewWriter(w io.Writer, keys Keys, h Header, now func() time.Time) (*Writer, error) {
	h.For = keys.Public()
	line, err := h.line()
	if err != nil {
		return nil, err
	}
	b := &Writer{out: summed{w: w, sum: sha256.New()}, took: func() time.Duration { return now().Sub(h.Taken) }}
	if _, err := b.out.Write(append([]byte(firstLine), line...)); err != nil {
		return nil, err
	}
	if b.data, err = keys.Encrypt(&b.out); err != nil {
		return nil, err
	}
	// The reader compares this copy with the header in clear, which somebody may have changed.
	_, err = b.data.Write(line)
	return b, err
}

// Write adds data.
func (b *Writer) Write(p []byte) (int, error) {
	n, err := b.data.Write(p)
	b.size += int64(n)
	return n, err
}

// Close ends the file.
func (b *Writer) Close() error {
	if err := b.data.Close(); err != nil {
		return err
	}
	_, err := b.out.w.Write(trailer{Data: b.size, Digest: b.digest()}.bytes())
	return err
}

// fill records in a backup what the closed writer has written.
func (b *Writer) fill(to *cloud.Backup) {
	to.Data, to.Size, to.Digest, to.Took = b.size, b.out.size+trailerSize, b.digest(), cloud.Duration(b.took())
}

func (b *Writer) digest() string { return "sha256:" + hex.EncodeToString(b.out.sum.Sum(nil)) }

// summed counts and digests what goes through it.
type summed struct {
	w    io.Writer
	sum  hash.Hash
	size int64
}

func (s *summed) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.sum.Write(p[:n]) // never fails
	s.size += int64(n)
	return n, err
}
