package backup

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"time"

	"github.com/protoduction/micro/cloud"
)

// firstLine is how each file begins. The number is the format's.
const firstLine = "micro backup 1\n"

const (
	maxHeader   = 8 << 10
	trailerSize = 256
)

// Header says what a backup has. It is not secret.
type Header struct {
	Group   cloud.GroupName `json:"group"`
	App     cloud.AppName   `json:"app"`
	ID      cloud.BackupID  `json:"id"`
	Volume  string          `json:"volume,omitempty"`
	Kind    string          `json:"kind,omitempty"`
	Version string          `json:"version,omitempty"`
	Taken   time.Time       `json:"taken"`
	Node    cloud.NodeName  `json:"node"`
	By      string          `json:"by"`
	For     string          `json:"for"` // the public key that the data is encrypted for
}

// trailer is how the file ends.
type trailer struct {
	Data   int64  `json:"data"` // bytes, before encryption
	Digest string `json:"digest"`
}

func (h Header) line() ([]byte, error) {
	b, err := json.Marshal(h)
	if err == nil && len(b) >= maxHeader {
		err = cloud.Errorf(cloud.Invalid, "the header of the backup has %d bytes", len(b))
	}
	return append(b, '\n'), err
}

// readHeader reads the header and its line.
func readHeader(r *bufio.Reader, name string) (h Header, line []byte, err error) {
	first := make([]byte, len(firstLine))
	if _, err := io.ReadFull(r, first); err != nil || string(first) != firstLine {
		if err == nil && bytes.HasPrefix(first, []byte("micro backup ")) {
			return h, nil, cloud.Errorf(cloud.Invalid, "backup %s has a format that a newer micro wrote", name)
		}
		if err != nil && bytes.HasPrefix([]byte(firstLine), bytes.TrimRight(first, "\x00")) {
			return h, nil, truncated(name)
		}
		return h, nil, cloud.Errorf(cloud.Invalid, "%s is not a backup of micro", name)
	}
	line, err = r.ReadSlice('\n')
	if err != nil {
		return h, nil, truncated(name)
	}
	line = bytes.Clone(line)
	if json.Unmarshal(line, &h) != nil {
		return h, nil, damaged(name)
	}
	return h, line, nil
}

func (t trailer) bytes() []byte {
	b, err := json.Marshal(t)
	if err != nil || len(b) > trailerSize-2 {
		panic("the trailer of a backup has no room") // its size is bounded
	}
	out := bytes.Repeat([]byte{' '}, trailerSize)
	out[0], out[trailerSize-1] = '\n', '\n'
	copy(out[1:], b)
	return out
}

func parseTrailer(b []byte) (t trailer, ok bool) {
	if len(b) != trailerSize || b[0] != '\n' || b[trailerSize-1] != '\n' {
		return t, false
	}
	return t, json.Unmarshal(b, &t) == nil && bytes.Equal(b, t.bytes())
}

func truncated(name string) error {
	return cloud.Errorf(cloud.Invalid, "backup %s is truncated: its end is missing", name)
}

func damaged(name string) error {
	return cloud.Errorf(cloud.Invalid, "backup %s is damaged", name)
}

// ReadHeader reads the header of a backup's file, without checking the rest.
func ReadHeader(r io.Reader, name string) (Header, error) {
	h, _, err := readHeader(bufio.NewReaderSize(r, maxHeader), name)
	return h, err
}
