package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"

	"github.com/protoduction/micro/cloud"
)

// Reader reads the data of a backup. Its end is io.EOF only if the backup is whole.
type Reader struct {
	Header
	name string
	body *body
	data io.Reader // nil until the file's end has told why it cannot be read
	size int64
	err  error // that Read goes on returning
}

// NewReader reads the header of a backup's file. name is for errors.
func NewReader(r io.Reader, keys Keys, name string) (*Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	h, line, err := readHeader(in, name)
	if err != nil {
		return nil, err
	}
	b := &Reader{Header: h, name: name, body: &body{in: in, sum: sha256.New()}}
	b.body.sum.Write(append([]byte(firstLine), line...)) // never fails
	plain, err := keys.Decrypt(b.body)
	if err != nil {
		return nil, b.explain(err)
	}
	inner := make([]byte, len(line))
	if _, err := io.ReadFull(plain, inner); err != nil {
		return nil, b.explain(err)
	}
	if !bytes.Equal(inner, line) {
		return nil, damaged(name)
	}
	b.data = plain
	return b, nil
}

// Read returns the next data.
func (b *Reader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.data.Read(p)
	b.size += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		if b.err = b.finish(); b.err == nil {
			b.err = io.EOF
		}
	case err != nil:
		b.err = b.explain(err)
	}
	return n, b.err
}

// finish reports what is wrong with a file whose data has been read.
func (b *Reader) finish() error {
	t, ok, err := b.body.end()
	switch {
	case err != nil:
		return unreadable(b.name, err)
	case !ok:
		return truncated(b.name)
	case t.Digest != b.body.digest() || t.Data != b.size:
		return damaged(b.name)
	}
	return nil
}

// explain says why data cannot be decrypted. The end of the file shows whether the file is to blame.
func (b *Reader) explain(err error) error {
	t, ok, rerr := b.body.end()
	switch {
	case rerr != nil:
		return unreadable(b.name, rerr)
	case !ok:
		return truncated(b.name)
	case t.Digest != b.body.digest():
		return damaged(b.name)
	}
	return cloud.Errorf(cloud.Invalid, "backup %s cannot be opened: %w", b.name, err)
}

func unreadable(name string, err error) error {
	return cloud.Errorf(cloud.Unavailable, "backup %s cannot be read: %w", name, err)
}

// body is the file between header and trailer.
type body struct {
	in   *bufio.Reader
	sum  hash.Hash
	fail error // of the file itself, but its end
}

// Read returns bytes that are not of the trailer.
func (b *body) Read(p []byte) (int, error) {
	// As long as more than a trailer is buffered, what is before that is no trailer.
	_, err := b.in.Peek(trailerSize + 1)
	n := min(b.in.Buffered()-trailerSize, len(p))
	if n <= 0 {
		if !errors.Is(err, io.EOF) && err != nil {
			b.fail = err
			return 0, err
		}
		return 0, io.EOF
	}
	n, err = b.in.Read(p[:n])
	b.sum.Write(p[:n]) // never fails
	return n, err
}

// end reads to the end of the file, and returns the trailer; ok is false where there is none.
func (b *body) end() (t trailer, ok bool, err error) {
	if _, err := io.Copy(io.Discard, b); err != nil {
		return t, false, err
	}
	if b.fail != nil {
		return t, false, b.fail
	}
	rest, err := io.ReadAll(b.in)
	if err != nil {
		return t, false, err
	}
	t, ok = parseTrailer(rest)
	return t, ok, nil
}

func (b *body) digest() string { return "sha256:" + hex.EncodeToString(b.sum.Sum(nil)) }
